// fhirclient (client-js) in a browser: a page of another origin, so all it does goes by CORS.
import { readFileSync } from "node:fs";
import { job, serve } from "./job.mjs";

const library = readFileSync("node_modules/fhirclient/build/fhir-client.min.js", "utf8");
const page = (script) => (_request, response) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(`<!doctype html><title>App</title><script>${library}</script><pre></pre><script>
    const say = (found) => (document.querySelector("pre").textContent = JSON.stringify(found));
    const failed = (error) => say({ error: String(error) });
    ${script}
  </script>`);
};

serve({
  "/favicon.ico": (_request, response) => void response.writeHead(204).end(),
  "/launch": page(`
    FHIR.oauth2.authorize({
      clientId: "vneid-app",
      scope: "openid fhirUser offline_access patient/*.rs patient/Consent.cud",
      iss: ${JSON.stringify(job.base)},
      redirectUri: "/callback",
      pkceMode: "required",
    }).catch(failed);
  `),
  "/callback": page(`
    (async () => {
      const client = await FHIR.oauth2.ready();
      const patient = await client.patient.read();
      const visits = [];
      for await (const page of client.pages("Encounter?patient=" + patient.id + "&_count=4")) {
        visits.push(page.entry.length);
      }
      await client.refresh();
      const consent = await client.create({
        resourceType: "Consent",
        status: "active",
        scope: { coding: [{
          system: "http://terminology.hl7.org/CodeSystem/consentscope", code: "patient-privacy",
        }] },
        category: [{ coding: [{ system: "http://loinc.org", code: "59284-0" }] }],
        patient: { reference: "Patient/" + patient.id },
        policyRule: { coding: [{
          system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: "OPTIN",
        }] },
        provision: { type: "permit" },
      });
      const change = [{ op: "replace", path: "/status", value: "inactive" }];
      const changed = await client.patch("Consent/" + consent.id, change);
      const kept = await client.request({
        url: "Consent/" + consent.id, includeResponse: true, headers: { "If-None-Match": 'W/"1"' },
      });
      await client.delete("Consent/" + consent.id);
      const status = (error) => error.status;
      say({
        name: patient.name[0].text,
        visits,
        statement: (await (await fetch(${JSON.stringify(job.base)} + "/metadata")).json()).fhirVersion,
        changed: changed.status,
        etag: kept.response.headers.get("etag"),
        gone: await client.request("Consent/" + consent.id).catch(status),
        stranger: await client.request("Patient/somebody-else").catch(status),
        written: await client.create({ resourceType: "Patient" }).catch(status),
      });
    })().catch(failed);
  `),
});
