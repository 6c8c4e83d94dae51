"""What every Store gives: commits, versions, ledger and audit chain, whatever the engine."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import pytest

from fhir_server.search.expression import EVERYTHING, Search, Tagged
from fhir_server.store.port import (
    AuditRecord,
    Batch,
    CommitRefused,
    ConditionChanged,
    KeyHeld,
    Matches,
    Put,
    RecordChanged,
    Referenced,
    Store,
    Tag,
    Unchanged,
    Unreferenced,
    VersionConflict,
)
from tests.contracts.making import (
    BASE_URL,
    START,
    asked,
    gone,
    ids,
    made,
    observation,
    patient,
    put,
    where,
)

CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"


def citizen(resource_id: str, number: str, **elements: object) -> dict[str, object]:
    """Return a Patient who holds a citizen's number."""
    return patient(resource_id, identifier=[{"system": CCCD, "value": number}], **elements)


# --- versions ----------------------------------------------------------------------------


async def test_a_version_is_read_as_it_was_written(store: Store) -> None:
    """A read gives the bytes, numbers and times of the write, and the Patients it is of."""
    write = made(observation("o", "p"), method="POST", at=START + 5)

    await store.commit(Batch(writes=[write]))

    version = await store.read("Observation", "o")
    assert version is not None
    assert (version.version_id, version.last_updated, version.deleted) == (1, START + 5, False)
    assert (version.body, version.method, version.patients) == (write.body, "POST", ("p",))
    assert {type(version.version_id), type(version.last_updated)} == {int}


async def test_what_never_was_is_none(store: Store) -> None:
    """Neither read, vread, holder nor tags know a resource that never was."""
    assert await store.read("Patient", "x") is None
    assert await store.vread("Patient", "x", 1) is None
    assert await store.holder(f"{CCCD}|1") is None
    assert await store.tags(("Patient", "x")) == frozenset()
    assert not await store.visible(("Patient", "x"), EVERYTHING)


async def test_ids_are_compared_exactly(store: Store) -> None:
    """Ids that differ in case are of different resources, and so are types."""
    await put(store, patient("a"))

    assert await store.read("Patient", "A") is None
    assert await store.read("Person", "a") is None


async def test_every_version_is_kept(store: Store) -> None:
    """Vread gives each version of a resource, a deletion too, and none that never was."""
    await put(store, patient("p", gender="male"))
    await store.commit(Batch(writes=[made(patient("p", gender="female"), 2)]))
    await store.commit(Batch(writes=[gone("Patient", "p", 3)]))

    first, second, third = [await store.vread("Patient", "p", n) for n in (1, 2, 3)]
    assert first
    assert b'"male"' in first.body
    assert second
    assert b'"female"' in second.body
    assert third
    assert third.deleted
    assert third.body == b""
    assert await store.vread("Patient", "p", 4) is None
    assert await store.vread("Patient", "p", 0) is None
    assert await store.read("Patient", "p") == third


async def test_many_are_read_in_the_order_asked(store: Store) -> None:
    """read_many answers for each name in its place, None for those that never were."""
    await put(store, patient("a"), patient("b"))

    found = await store.read_many([("Patient", "b"), ("Patient", "x"), ("Patient", "a")])

    assert [version and version.resource_id for version in found] == ["b", None, "a"]
    assert await store.read_many([]) == []


async def test_a_deleted_resource_can_be_made_again(store: Store) -> None:
    """The version after a deletion counts on, and the resource is found again."""
    await put(store, patient("p"))
    await store.commit(Batch(writes=[gone("Patient", "p", 2)]))
    assert ids(await store.search(asked("Patient"))) == []

    await store.commit(Batch(writes=[made(patient("p"), 3)]))

    assert ids(await store.search(asked("Patient"))) == ["p"]
    assert await store.count("Patient") == 1


# --- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize("version_id", [1, 2, 4])
async def test_a_write_that_is_not_the_next_version_is_refused(
    store: Store, version_id: int
) -> None:
    """Only the version after the current one can be made; the refusal names the current."""
    await put(store, patient("p"))
    await store.commit(Batch(writes=[made(patient("p", active=True), 2)]))

    with pytest.raises(VersionConflict) as refused:
        await store.commit(Batch(writes=[made(patient("p"), version_id)]))

    assert (refused.value.name, refused.value.current) == (("Patient", "p"), 2)


async def test_a_first_version_must_be_number_one(store: Store) -> None:
    """A resource that never was begins with version 1."""
    with pytest.raises(VersionConflict) as refused:
        await store.commit(Batch(writes=[made(patient("p"), 2)]))

    assert refused.value.current == 0


async def test_a_condition_holds_for_exactly_the_ids_it_names(store: Store) -> None:
    """Matches holds where the matches are those it names, neither more nor fewer."""
    await put(store, patient("a", gender="male"), patient("b", gender="male"), patient("c"))
    male = where("Patient", "gender=male")

    await store.commit(Batch(conditions=[Matches("Patient", male, frozenset("ab"))]))
    for wrong in ("a", "", "abc", "ac"):
        with pytest.raises(ConditionChanged):
            await store.commit(Batch(conditions=[Matches("Patient", male, frozenset(wrong))]))


async def test_a_condition_looks_at_what_was_before_the_commit(store: Store) -> None:
    """A conditional create may make what its own condition asks for."""
    new = made(citizen("a", "001"))
    nobody = Matches("Patient", where("Patient", f"identifier={CCCD}|001"))

    await store.commit(Batch(writes=[new], conditions=[nobody]))
    with pytest.raises(ConditionChanged):
        await store.commit(Batch(writes=[made(patient("b"))], conditions=[nobody]))

    assert await store.read("Patient", "b") is None


async def test_unchanged_asks_for_a_version(store: Store) -> None:
    """Unchanged holds where the current version is the one named; 0 is none ever."""
    await put(store, patient("a"))

    await store.commit(
        Batch(conditions=[Unchanged("Patient", "a", 1), Unchanged("Patient", "b", 0)])
    )
    for name, version_id in (("a", 0), ("a", 2), ("b", 1)):
        with pytest.raises(ConditionChanged):
            await store.commit(Batch(conditions=[Unchanged("Patient", name, version_id)]))


async def test_a_unique_key_has_one_holder(store: Store) -> None:
    """A second current resource cannot take a key; the refusal names the holder."""
    await put(store, citizen("a", "001"))

    with pytest.raises(KeyHeld) as refused:
        await store.commit(Batch(writes=[made(citizen("b", "001"))]))

    assert refused.value.holder == ("Patient", "a")
    assert refused.value.key == f"{CCCD}|001"
    assert await store.holder(f"{CCCD}|001") == ("Patient", "a")
    assert await store.read("Patient", "b") is None


async def test_two_of_one_batch_cannot_hold_one_key(store: Store) -> None:
    """The key is refused within a batch too."""
    with pytest.raises(KeyHeld):
        await store.commit(Batch(writes=[made(citizen("a", "1")), made(citizen("b", "1"))]))

    assert await store.read("Patient", "a") is None


async def test_who_held_a_key_before_is_named_before_who_would_take_it(store: Store) -> None:
    """Where two of a batch would take a key that a third holds, the third is the holder."""
    await put(store, citizen("held", "1"))

    with pytest.raises(KeyHeld) as refused:
        await store.commit(Batch(writes=[made(citizen("a", "1")), made(citizen("b", "1"))]))

    assert refused.value.holder == ("Patient", "held")


async def test_a_key_is_free_again_after_an_update_or_deletion(store: Store) -> None:
    """Whoever no longer has a key, or is deleted, holds it no more."""
    await put(store, citizen("a", "001"))
    await store.commit(Batch(writes=[made(patient("a"), 2)]))
    await store.commit(Batch(writes=[made(citizen("b", "001"))]))
    await store.commit(Batch(writes=[gone("Patient", "b", 2)]))
    assert await store.holder(f"{CCCD}|001") is None

    await store.commit(Batch(writes=[made(citizen("c", "001"))]))

    assert await store.holder(f"{CCCD}|001") == ("Patient", "c")


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
async def test_one_batch_may_move_a_key(store: Store, order: tuple[str, str]) -> None:
    """A key goes from one resource to another in one batch, in whatever order it is written."""
    await put(store, citizen("a", "001"), patient("b"))
    writes = {"a": made(patient("a"), 2), "b": made(citizen("b", "001"), 2)}

    await store.commit(Batch(writes=[writes[name] for name in order]))

    assert await store.holder(f"{CCCD}|001") == ("Patient", "b")


async def test_one_batch_may_exchange_keys(store: Store) -> None:
    """Two resources change their keys with one another in one batch."""
    await put(store, citizen("a", "001"), citizen("b", "002"))

    await store.commit(Batch(writes=[made(citizen("a", "002"), 2), made(citizen("b", "001"), 2)]))

    assert await store.holder(f"{CCCD}|001") == ("Patient", "b")
    assert await store.holder(f"{CCCD}|002") == ("Patient", "a")


async def test_what_is_referred_to_is_not_taken_away(store: Store) -> None:
    """Unreferenced is refused while a current resource refers to it, and names that one."""
    await put(store, patient("p"), observation("o", "p"))
    deletion = Batch(writes=[gone("Patient", "p", 2)], conditions=[Unreferenced("Patient", "p")])

    with pytest.raises(Referenced) as refused:
        await store.commit(deletion)
    assert (refused.value.name, refused.value.by) == (("Patient", "p"), ("Observation", "o"))

    await store.commit(Batch(writes=[gone("Observation", "o", 2)]))
    await store.commit(deletion)
    assert await store.count("Patient") == 0


DEEP = {
    "extension": {"extension": [{"url": "http://x", "valueReference": {"reference": "Patient/p"}}]},
    "contained": {
        "contained": [observation("c", "p")],
        "hasMember": [{"reference": "#c"}],
    },
    "version": {"note": [{"authorReference": {"reference": "Patient/p/_history/1"}, "text": "x"}]},
    "absolute": {"note": [{"authorReference": {"reference": f"{BASE_URL}/Patient/p"}}]},
}
"""Where an Observation may refer to a Patient and no search parameter of its type looks."""


@pytest.mark.parametrize("elements", DEEP.values(), ids=DEEP)
async def test_every_literal_reference_counts(store: Store, elements: dict[str, Any]) -> None:
    """Unreferenced and `referrers` see what refers from anywhere in a resource."""
    await put(store, patient("p"), {**observation("o", "q"), **elements})
    deletion = Batch(writes=[gone("Patient", "p", 2)], conditions=[Unreferenced("Patient", "p")])

    with pytest.raises(Referenced):
        await store.commit(deletion)
    assert await store.referrers(("Patient", "p")) == [("Observation", "o")]

    await store.commit(Batch(writes=[made(observation("o", "q"), 2)]))
    await store.commit(deletion)
    assert await store.referrers(("Patient", "p")) == []


async def test_referrers_are_current_others_once_and_not_too_many(store: Store) -> None:
    """A resource is no referrer of itself, nor is what was deleted; `limit` bounds the list."""
    link = [{"other": {"reference": "Patient/p"}, "type": "seealso"}]
    twice = observation("r", "p", focus=[{"reference": "Patient/p"}])
    await put(store, patient("p", link=link), observation("o", "p"), twice, observation("s", "p"))
    await store.commit(Batch(writes=[gone("Observation", "o", 2)]))

    found = await store.referrers(("Patient", "p"))

    assert sorted(found) == [("Observation", "r"), ("Observation", "s")]
    assert len(await store.referrers(("Patient", "p"), limit=1)) == 1
    assert await store.referrers(("Patient", "never")) == []
    assert await store.referrers(("Basic", "never")) == []


async def test_unreferenced_looks_at_what_will_be(store: Store) -> None:
    """A batch may delete a resource with those that refer to it, or turn them elsewhere."""
    await put(store, patient("p"), patient("q"), observation("o", "p"), observation("r", "p"))

    await store.commit(
        Batch(
            writes=[
                gone("Patient", "p", 2),
                gone("Observation", "o", 2),
                made(observation("r", "q"), 2),
            ],
            conditions=[Unreferenced("Patient", "p")],
        )
    )
    with pytest.raises(Referenced):
        await store.commit(
            Batch(
                writes=[gone("Patient", "q", 2), made(observation("s", "q"))],
                conditions=[
                    Unreferenced("Patient", "q", but_for=frozenset({("Observation", "r")}))
                ],
            )
        )


async def test_unreferenced_but_for_those_named(store: Store) -> None:
    """Referrers that are named do not count, nor does the resource itself."""
    link = [{"other": {"reference": "Patient/p"}, "type": "seealso"}]
    await put(store, patient("p", link=link), observation("o", "p"))

    await store.commit(
        Batch(
            conditions=[
                Unreferenced("Patient", "p", but_for=frozenset({("Observation", "o")})),
            ]
        )
    )


# --- all or nothing ----------------------------------------------------------------------

REFUSED = {
    "version": Batch(writes=[made(patient("old"), 7)]),
    "key": Batch(writes=[made(citizen("other", "001"))]),
    "condition": Batch(conditions=[Matches("Patient", EVERYTHING)]),
    "unchanged": Batch(conditions=[Unchanged("Patient", "old", 4)]),
    "referenced": Batch(conditions=[Unreferenced("Patient", "old")]),
    "record": Batch(puts=[Put("b", "k", b"new", expected=b"other")]),
    "tag": Batch(tags=[Tag("Patient", "never", frozenset({"t"}))]),
}


@pytest.mark.parametrize("refusal", REFUSED)
async def test_a_refused_batch_leaves_nothing(store: Store, refusal: str) -> None:
    """Whatever is refused, nothing of the batch is made: versions, tags, records, audit."""
    await put(store, citizen("old", "001"), observation("o", "old"))
    await store.commit(Batch(puts=[Put("b", "k", b"old")]))
    why = REFUSED[refusal]
    batch = Batch(
        writes=[made(patient("new"), tags=["t"]), *why.writes],
        conditions=why.conditions,
        puts=[Put("b", "k2", b"x"), *why.puts],
        tags=[Tag("Patient", "old", frozenset({"t"})), *why.tags],
        audit=[AuditRecord(START, b"seen")],
    )

    with pytest.raises(CommitRefused):
        await store.commit(batch)

    assert await store.read("Patient", "new") is None
    assert await store.tags(("Patient", "old")) == frozenset()
    assert (await store.get("b", "k"), await store.get("b", "k2")) == (b"old", None)
    assert await store.audit() == []
    assert await store.count("Patient") == 1
    assert len((await store.history(None, None)).versions) == 2


async def test_an_empty_batch_is_made(store: Store) -> None:
    """A batch of nothing is no refusal."""
    await store.commit(Batch())


# --- races -------------------------------------------------------------------------------


async def test_fifty_conditional_creates_make_one(store: Store) -> None:
    """Of fifty that race to create what must not be there, one does."""
    nobody = Matches("Patient", where("Patient", f"identifier={CCCD}|001"))
    batches = [
        Batch(writes=[made(citizen(f"p{n}", "001"))], conditions=[nobody]) for n in range(50)
    ]

    answers = await asyncio.gather(*map(store.commit, batches), return_exceptions=True)

    assert answers.count(None) == 1
    assert all(isinstance(one, ConditionChanged | KeyHeld) for one in answers if one is not None)
    assert await store.count("Patient") == 1


async def test_fifty_updates_of_one_version_make_one(store: Store) -> None:
    """Of fifty that race to update one version, one does, and none is lost unseen."""
    await put(store, patient("p"))
    batches = [Batch(writes=[made(patient("p", language=f"x{n}"), 2)]) for n in range(50)]

    answers = await asyncio.gather(*map(store.commit, batches), return_exceptions=True)

    assert answers.count(None) == 1
    assert all(isinstance(one, VersionConflict) for one in answers if one is not None)
    current = await store.read("Patient", "p")
    assert current
    assert current.body == batches[answers.index(None)].writes[0].body


async def test_fifty_batches_at_once_are_all_made(store: Store) -> None:
    """Batches that do not concern one another are all made, also beside refused ones."""
    good = [Batch(writes=[made(patient(f"p{n}"))]) for n in range(50)]
    bad = [Batch(writes=[made(patient(f"p{n}"), 9)]) for n in range(10)]

    answers = await asyncio.gather(*map(store.commit, [*good, *bad]), return_exceptions=True)

    assert answers[:50] == [None] * 50
    assert all(isinstance(one, VersionConflict) for one in answers[50:])
    assert await store.count("Patient") == 50


async def test_what_was_committed_is_seen_at_once(store: Store) -> None:
    """Every read, search, count and history that begins after a commit shows it."""
    for number in range(20):
        await store.commit(Batch(writes=[made(patient(f"p{number}"))]))

        assert await store.read("Patient", f"p{number}")
        assert ids(await store.search(asked("Patient", count=1))) == [f"p{number}"]
        assert await store.count("Patient") == number + 1
        assert ids(await store.history("Patient", None, count=1)) == [f"p{number}"]


# --- tags --------------------------------------------------------------------------------


async def test_access_tags_stay_with_the_resource(store: Store) -> None:
    """Tags add up over writes and Tag, and no version takes one away."""
    await store.commit(Batch(writes=[made(patient("p"), tags=["facility/01999"])]))
    await store.commit(Batch(writes=[made(patient("p", active=True), 2, tags=["author/x"])]))
    await store.commit(Batch(tags=[Tag("Patient", "p", frozenset({"facility/79999"}))]))

    every = {"facility/01999", "author/x", "facility/79999"}
    assert await store.tags(("Patient", "p")) == every
    for tag in every:
        assert await store.visible(("Patient", "p"), Tagged(tag))
        assert await store.count("Patient", Tagged(tag)) == 1
    assert not await store.visible(("Patient", "p"), Tagged("facility/00000"))
    version = await store.read("Patient", "p")
    assert version
    assert version.version_id == 2


async def _seen_by(store: Store, *tags: str) -> list[str]:
    """Return those of these tags by which Patient/p is there, in every form of question."""
    held = await store.tags(("Patient", "p"))
    seen = []
    for tag in tags:
        asked_one = await store.visible(("Patient", "p"), Tagged(tag))
        assert asked_one == (tag in held)
        assert asked_one == bool(await store.count("Patient", Tagged(tag)))
        assert asked_one == bool(ids(await store.search(Search((("Patient", Tagged(tag)),)))))
        seen += [tag] * asked_one
    return seen


async def test_a_tag_takes_tags_away(store: Store) -> None:
    """What is taken away shows no more; the version, its history and other tags stay."""
    await store.commit(Batch(writes=[made(patient("p"), tags=["a", "b", "c"])]))

    await store.commit(Batch(tags=[Tag("Patient", "p", frozenset("d"), frozenset("ax"))]))

    assert await _seen_by(store, *"abcdx") == ["b", "c", "d"]
    assert await store.tags(("Patient", "p")) == frozenset("bcd")
    version = await store.read("Patient", "p")
    assert version
    assert version.version_id == 1


async def test_tags_are_taken_away_with_the_next_version_and_stay_away(store: Store) -> None:
    """In a commit that writes the resource too; what the commit adds can be taken at once."""
    await store.commit(Batch(writes=[made(patient("p"), tags=["a", "b"])]))

    await store.commit(
        Batch(
            writes=[made(patient("p", active=True), 2, tags=["c", "d"])],
            tags=[
                Tag("Patient", "p", without=frozenset("ac")),
                Tag("Patient", "p", frozenset("ae")),
            ],
        )
    )
    after = await _seen_by(store, *"abcde")
    await store.commit(Batch(writes=[made(patient("p", active=False), 3)]))

    assert after == await _seen_by(store, *"abcde") == ["b", "d", "e"]


async def test_a_tag_may_come_back_and_go_in_commits_at_once(store: Store) -> None:
    """Commits made together leave the tags that the last of them says."""
    await store.commit(Batch(writes=[made(patient("p"))]))
    add, take = Tag("Patient", "p", frozenset("a")), Tag("Patient", "p", without=frozenset("a"))

    for turn, last in ((take, add), (add, take)):
        await asyncio.gather(*(store.commit(Batch(tags=[one])) for one in (turn, last)))
        assert await _seen_by(store, "a") == (["a"] if last is add else [])
        await store.commit(Batch(tags=[add, take]))
        assert await _seen_by(store, "a") == []


async def test_what_is_deleted_is_not_visible(store: Store) -> None:
    """Visible is false of a deleted resource, whatever is asked."""
    await store.commit(Batch(writes=[made(patient("p"), tags=["t"])]))
    await store.commit(Batch(writes=[gone("Patient", "p", 2)]))

    assert not await store.visible(("Patient", "p"), EVERYTHING)
    assert not await store.visible(("Patient", "p"), Tagged("t"))


# --- ledger ------------------------------------------------------------------------------


async def test_a_record_is_put_read_and_taken_away(store: Store) -> None:
    """A record is kept by bucket and key until a Put without a value."""
    await store.commit(Batch(puts=[Put("b", "k", b"\x00v"), Put("c", "k", b"other")]))
    assert await store.get("b", "k") == b"\x00v"

    await store.commit(Batch(puts=[Put("b", "k", None)]))

    assert (await store.get("b", "k"), await store.get("c", "k")) == (None, b"other")


async def test_a_record_is_exchanged_only_as_expected(store: Store) -> None:
    """A Put that expects another value than is there, or one where none is, is refused."""
    await store.commit(Batch(puts=[Put("b", "k", b"1", expected=None)]))

    for wrong in (None, b"0"):
        with pytest.raises(RecordChanged) as refused:
            await store.commit(Batch(puts=[Put("b", "k", b"2", expected=wrong)]))
    assert (refused.value.bucket, refused.value.key) == ("b", "k")
    await store.commit(Batch(puts=[Put("b", "k", b"2", expected=b"1")]))
    await store.commit(Batch(puts=[Put("b", "k", None, expected=b"2")]))

    assert await store.get("b", "k") is None


async def test_fifty_that_take_a_record_once_are_one(store: Store) -> None:
    """Of fifty that race to use a code, one does."""
    await store.commit(Batch(puts=[Put("code", "c", b"fresh")]))
    use = Batch(puts=[Put("code", "c", b"used", expected=b"fresh")])

    answers = await asyncio.gather(*(store.commit(use) for _ in range(50)), return_exceptions=True)

    assert answers.count(None) == 1
    assert all(isinstance(one, RecordChanged) for one in answers if one is not None)


async def test_a_record_ends(store: Store) -> None:
    """A record that has ended is absent to whoever says what time it is."""
    await store.commit(Batch(puts=[Put("b", "k", b"v", expires=START)]))

    assert await store.get("b", "k", now=START - 1) == b"v"
    assert await store.get("b", "k", now=START + 1) is None


async def test_records_are_scanned_in_the_order_of_their_keys(store: Store) -> None:
    """Scan gives start <= key < end by bytes, forwards or from the end, up to a limit."""
    keys = ["a", "a|1", "a|2", "b", "é", "Z", "a|10", "ơ", "\U0001f600"]
    await store.commit(Batch(puts=[Put("b", key, key.encode()) for key in keys]))
    await store.commit(Batch(puts=[Put("c", "a", b"another bucket")]))
    in_order = sorted(keys, key=str.encode)

    assert [key for key, _ in await store.scan("b")] == in_order
    assert [key for key, _ in await store.scan("b", reverse=True)] == in_order[::-1]
    assert [key for key, _ in await store.scan("b", start="a|", end="a}")] == ["a|1", "a|10", "a|2"]
    assert [key for key, _ in await store.scan("b", start="a|", end="b", limit=2)] == [
        "a|1",
        "a|10",
    ]
    last = await store.scan("b", start="a|", end="b", limit=1, reverse=True)
    assert last == [("a|2", b"a|2")]
    assert await store.scan("none") == []


# --- audit -------------------------------------------------------------------------------


async def test_audit_entries_are_chained(store: Store) -> None:
    """Each entry's digest is over the one before, its time and its body, in order of commit."""
    for n in range(3):
        records = [AuditRecord(START - n, f"{n}.{m}".encode(), (f"p{m}",)) for m in range(2)]
        await store.commit(Batch(audit=records))

    digest = bytes(32)
    chain = [entry async for entry in store.audit_chain()]
    assert [entry.body for entry in chain] == [b"0.0", b"0.1", b"1.0", b"1.1", b"2.0", b"2.1"]
    for entry in chain:
        stamp = entry.recorded.to_bytes(8, "big", signed=True)
        digest = sha256(digest + stamp + entry.body).digest()
        assert entry.digest == digest
        assert await store.audit_entry(entry.seq) == entry
        assert {type(entry.seq), type(entry.recorded)} == {int}
    assert [entry.seq for entry in chain] == sorted({entry.seq for entry in chain})


async def test_audit_is_found_by_patient_time_and_place(store: Store) -> None:
    """Audit entries are given newest first, of a Patient, of a time, before another."""
    await store.commit(
        Batch(
            audit=[
                AuditRecord(START, b"0", ("a", "b")),
                AuditRecord(START + 10, b"1", ("b",)),
                AuditRecord(START + 20, b"2"),
                AuditRecord(START + 30, b"3", ("a",)),
            ]
        )
    )

    every = await store.audit()
    assert [entry.body for entry in every] == [b"3", b"2", b"1", b"0"]
    assert every[-1].patients == ("a", "b")
    assert [entry.body for entry in await store.audit(patient="a")] == [b"3", b"0"]
    assert [entry.body for entry in await store.audit(patient="b", limit=1)] == [b"1"]
    assert [entry.body for entry in await store.audit(since=START + 5, until=START + 25)] == [
        b"2",
        b"1",
    ]
    assert [entry.body for entry in await store.audit(before=every[1].seq)] == [b"1", b"0"]
    last, third, second, first = (entry.seq for entry in every)
    for wanted, entries in (
        ([b"1", b"2", b"3"], await store.audit(after=first)),
        ([b"1", b"2"], await store.audit(after=first, limit=2)),
        ([b"2"], await store.audit(after=second, before=last)),
        ([b"3"], await store.audit(after=first, patient="a")),
        ([b"2", b"3"], await store.audit(after=first, since=START + 20)),
        ([b"1", b"2"], await store.audit(after=first, since=START + 10, until=START + 20)),
        ([b"3"], await store.audit(after=third)),
        ([], await store.audit(after=last)),
    ):
        assert [entry.body for entry in entries] == wanted
    assert await store.audit_entry(every[0].seq + 1) is None
    assert await store.audit(patient="nobody") == []


async def test_audit_at_once_is_one_chain(store: Store) -> None:
    """Entries of fifty commits at once stand in one unbroken chain, none twice."""
    await asyncio.gather(
        *(store.commit(Batch(audit=[AuditRecord(START, b"%d" % n)])) for n in range(50))
    )

    chain = [entry async for entry in store.audit_chain()]
    digest = bytes(32)
    for entry in chain:
        digest = sha256(digest + entry.recorded.to_bytes(8, "big") + entry.body).digest()
        assert entry.digest == digest
    assert sorted(int(entry.body) for entry in chain) == list(range(50))


async def test_an_audit_entry_is_no_resource(store: Store) -> None:
    """The chain is outside history, search and counts."""
    await store.commit(Batch(audit=[AuditRecord(START, b"seen", ("p",))]))

    assert (await store.history(None, None)).versions == ()
    assert await store.count("AuditEvent") == 0


# --- life --------------------------------------------------------------------------------


async def test_an_open_store_is_ready(store: Store) -> None:
    """A store that was opened can take a commit."""
    assert await store.ready()


async def test_every_commit_makes_another_edition(store: Store) -> None:
    """While nothing is committed the edition stays, whatever is read; then it is another one."""
    editions = [await store.edition()]
    batches = (
        Batch(writes=[made(patient("p"))]),
        Batch(puts=[Put("b", "k", b"1")]),
        Batch(tags=[Tag("Patient", "p", frozenset({"t"}))]),
        Batch(puts=[Put("b", "k", b"2")], audit=[AuditRecord(1, b"a")]),
    )
    for batch in batches:
        await store.commit(batch)
        await store.read("Patient", "p")
        await store.search(asked("Patient"))
        await store.get("b", "k")
        editions.append(await store.edition())
        assert await store.edition() == editions[-1]

    assert len(set(editions)) == len(editions)


async def test_audit_entries_alone_leave_the_edition(store: Store) -> None:
    """A read, which leaves an AuditEvent, does not make all that is known to be looked up again."""
    await store.commit(Batch(puts=[Put("b", "k", b"1")]))
    before = await store.edition()

    for number in range(3):
        await store.commit(Batch(audit=[AuditRecord(number, b"read")]))

    assert await store.edition() == before
