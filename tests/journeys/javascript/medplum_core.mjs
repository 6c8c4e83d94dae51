// @medplum/core: log-in by an assertion, CRUD, JSON Patch, searches and pages, history, batch.
import assert from "node:assert/strict";
import { MedplumClient, OperationOutcomeError } from "@medplum/core";
import { MRN, fresh, job } from "./job.mjs";

const client = new MedplumClient({
  baseUrl: job.origin,
  fhirUrlPath: "fhir",
  tokenUrl: `${job.origin}/auth/token`,
  authorizeUrl: `${job.origin}/auth/authorize`,
  clientId: job.client,
  cacheTime: 0,
});
const refusal = async (promise) => {
  const error = await promise.then(() => assert.fail("it was taken"), (thrown) => thrown);
  assert.ok(error instanceof OperationOutcomeError, String(error));
  return error.outcome;
};

await client.startJwtAssertionLogin(job.assertion);
assert.ok(client.isAuthenticated());

const group = fresh();
const identifier = [{ system: MRN, value: group }];
const made = { resourceType: "Patient", identifier, name: [{ family: "Bùi", given: ["Thử"] }] };
const patient = await client.createResource(made);
assert.equal(patient.meta.versionId, "1");
assert.deepEqual(await client.readResource("Patient", patient.id), patient);
assert.deepEqual(await client.readReference({ reference: `Patient/${patient.id}` }), patient);
const same = await client.createResourceIfNoneExist(made, `identifier=${MRN}|${group}`);
assert.equal(same.id, patient.id);
const updated = await client.updateResource({ ...patient, gender: "male" });
assert.equal(updated.meta.versionId, "2");
const unchanged = await client.updateResource(updated);
assert.equal(unchanged.meta.versionId, "2");
const upserted = await client.upsertResource(
  { ...made, gender: "male", active: true },
  `identifier=${MRN}|${group}`,
);
assert.deepEqual([upserted.id, upserted.active], [patient.id, true]);
const patched = await client.patchResource("Patient", patient.id, [
  { op: "test", path: "/active", value: true },
  { op: "add", path: "/birthDate", value: "1980-05-06" },
  { op: "remove", path: "/active" },
]);
assert.deepEqual([patched.birthDate, patched.active], ["1980-05-06", undefined]);
const failed = await refusal(
  client.patchResource("Patient", patient.id, [{ op: "test", path: "/gender", value: "female" }]),
);
assert.equal(failed.resourceType, "OperationOutcome");
const history = await client.readHistory("Patient", patient.id);
assert.deepEqual(history.entry.map((entry) => entry.resource.meta.versionId), ["4", "3", "2", "1"]);
assert.equal((await client.readVersion("Patient", patient.id, "1")).gender, undefined);

const urn = `urn:uuid:${fresh()}`;
const observed = (valueInteger, reference) => ({
  request: { method: "POST", url: "Observation" },
  resource: {
    resourceType: "Observation",
    status: "final",
    identifier,
    code: { coding: [{ system: "http://loinc.org", code: "8867-4" }] },
    subject: { reference },
    valueInteger,
  },
});
const batch = await client.executeBatch({
  resourceType: "Bundle",
  type: "batch",
  entry: [
    ...Array.from({ length: 5 }, (_, number) => observed(number, `Patient/${patient.id}`)),
    { request: { method: "GET", url: "Patient/never-was" } },
  ],
});
const statuses = (bundle) => bundle.entry.map((entry) => entry.response.status.slice(0, 3));
assert.deepEqual(statuses(batch), ["201", "201", "201", "201", "201", "404"]);
const together = await client.executeBatch({
  resourceType: "Bundle",
  type: "transaction",
  entry: [
    {
      fullUrl: urn,
      request: { method: "POST", url: "Patient" },
      resource: { resourceType: "Patient" },
    },
    observed(5, urn),
  ],
});
assert.deepEqual(statuses(together), ["201", "201"]);

const query = `identifier=${MRN}|${group}`;
const bundle = await client.search("Observation", `${query}&_total=accurate&_count=2`);
assert.deepEqual([bundle.total, bundle.entry.length], [6, 2]);
const found = await client.searchResources("Observation", { identifier: `${MRN}|${group}` });
assert.equal(found.length, 6);
const pages = [];
for await (const page of client.searchResourcePages("Observation", `${query}&_count=2`)) {
  pages.push(page.length);
}
assert.deepEqual(pages, [2, 2, 2]);
const one = await client.searchOne("Patient", query);
assert.equal(one.id, patient.id);
assert.equal(await client.searchOne("Patient", { identifier: fresh() }), undefined);
const everything = await client.readPatientEverything(patient.id);
assert.equal(everything.entry.filter((e) => e.resource.resourceType === "Observation").length, 5);

// What it reads within the same moment it asks for in one batch.
const auto = new MedplumClient({
  baseUrl: job.origin,
  fhirUrlPath: "fhir",
  accessToken: client.getAccessToken(),
  cacheTime: 0,
  autoBatchTime: 20,
});
const read = await Promise.all([
  auto.readResource("Patient", patient.id),
  auto.readResource("Observation", found[0].id),
]);
assert.deepEqual(read.map((resource) => resource.id), [patient.id, found[0].id]);

const wrong = await client.validateResource({ resourceType: "Patient", gender: "nobody's" });
assert.equal(wrong.issue[0].severity, "error");

const binary = await client.createBinary({ data: "chữ", contentType: "text/plain" });
assert.equal(binary.contentType, "text/plain");
const file = await client.download(client.fhirUrl("Binary", binary.id));
assert.deepEqual([file.type, await file.text()], ["text/plain", "chữ"]);

await refusal(client.createResource({ resourceType: "Patient", gender: "nobody's" }));
const doomed = await client.createResource({ resourceType: "Patient" });
await client.deleteResource("Patient", doomed.id);
const gone = await refusal(client.readResource("Patient", doomed.id));
assert.equal(gone.issue[0].code, "deleted");
assert.equal((await refusal(client.readResource("Patient", fresh()))).issue[0].code, "not-found");
console.log("done");
