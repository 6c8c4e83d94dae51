"""Hospitals' dossiers as they are sent: the envelope of QĐ 130, 4750 and 3176."""
