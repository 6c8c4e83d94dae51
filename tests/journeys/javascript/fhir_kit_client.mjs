// fhir-kit-client: discovery, CRUD, patch, history, searches, pages to and fro, resolve, Bundles.
import assert from "node:assert/strict";
import { Client } from "fhir-kit-client";
import { MRN, fresh, job, resources } from "./job.mjs";

const client = new Client({ baseUrl: job.base, bearerToken: job.token });
const statusOf = (promise) => promise.then(() => 0, (error) => error.response.status);
const headersOf = (answer) => Client.httpFor(answer).response.headers;

// Discovery: whichever of the three documents answers first, and each alone.
const smart = await client.smartAuthMetadata();
assert.equal(smart.authorizeUrl.href, `${job.origin}/auth/authorize`);
assert.equal(smart.tokenUrl.href, `${job.origin}/auth/token`);
const statement = await client.capabilityStatement();
assert.equal(statement.fhirVersion, "4.0.1");
const uris = statement.rest[0].security.extension[0].extension;
assert.equal(uris.find((uri) => uri.url === "authorize").valueUri, smart.authorizeUrl.href);

// One resource from its making to its end.
const group = fresh();
const identifier = [{ system: MRN, value: group }];
const patient = await client.create({
  resourceType: "Patient",
  body: { resourceType: "Patient", identifier, name: [{ text: "Đỗ Thị Thử" }], gender: "female" },
});
assert.equal(Client.httpFor(patient).response.status, 201);
assert.equal(
  headersOf(patient).get("location"),
  `${job.base}/Patient/${patient.id}/_history/1`,
);
assert.equal(headersOf(patient).get("etag"), 'W/"1"');
assert.deepEqual({ ...(await client.read({ resourceType: "Patient", id: patient.id })) }, { ...patient });
const updated = await client.update({
  resourceType: "Patient",
  id: patient.id,
  body: { ...patient, birthDate: "1990-02-03" },
  options: { headers: { "If-Match": 'W/"1"' } },
});
assert.equal(updated.meta.versionId, "2");
assert.equal(
  await statusOf(client.update({
    resourceType: "Patient",
    id: patient.id,
    body: { ...patient, birthDate: "1990-02-04" },
    options: { headers: { "If-Match": 'W/"1"' } },
  })),
  412,
);
const patched = await client.patch({
  resourceType: "Patient",
  id: patient.id,
  jsonPatch: [
    { op: "test", path: "/birthDate", value: "1990-02-03" },
    { op: "replace", path: "/gender", value: "other" },
  ],
});
assert.equal(patched.gender, "other");
const second = await client.vread({ resourceType: "Patient", id: patient.id, version: "2" });
assert.equal(second.gender, "female");
const versions = async (asked) =>
  resources(await client.history(asked)).map((resource) => resource.meta.versionId);
assert.deepEqual(await versions({ resourceType: "Patient", id: patient.id }), ["3", "2", "1"]);
const ofType = await client.history({ resourceType: "Patient" });
assert.equal(ofType.type, "history");
assert.equal(ofType.entry[0].resource.id, patient.id);
assert.equal((await client.history()).entry[0].request.method, "PATCH");

// Searches, by GET and POST, of a type, a compartment and the system.
for (let number = 0; number < 7; number++) {
  await client.create({
    resourceType: "Observation",
    body: {
      resourceType: "Observation",
      status: "final",
      identifier,
      code: { text: "Mạch" },
      subject: { reference: `Patient/${patient.id}` },
      effectiveDateTime: `2026-02-0${number + 1}`,
      valueInteger: number,
    },
  });
}
const values = (bundle) => resources(bundle).map((resource) => resource.valueInteger);
const searchParams = { identifier: `${MRN}|${group}`, _sort: "-date", _count: 3 };
const first = await client.search({ resourceType: "Observation", searchParams });
assert.equal(first.total, 7);
assert.deepEqual(values(first), [6, 5, 4]);
const next = await client.nextPage({ bundle: first });
const last = await client.nextPage({ bundle: next });
assert.deepEqual([values(next), values(last)], [[3, 2, 1], [0]]);
assert.equal(client.nextPage({ bundle: last }), undefined);
const back = await client.prevPage({ bundle: last });
assert.deepEqual(values(back), [3, 2, 1]);
assert.deepEqual(values(await client.prevPage({ bundle: back })), [6, 5, 4]);
assert.equal(client.prevPage({ bundle: first }), undefined);
const posted = await client.search({
  resourceType: "Observation",
  searchParams,
  options: { postSearch: true },
});
assert.deepEqual(values(posted), [6, 5, 4]);
const compartment = { resourceType: "Patient", id: patient.id };
for (const postSearch of [false, true]) {
  const inside = await client.search({
    resourceType: "Observation",
    compartment,
    searchParams: { date: "ge2026-02-06" },
    options: { postSearch },
  });
  assert.deepEqual(values(inside).sort(), [5, 6]);
  const everywhere = await client.search({
    searchParams: { _type: "Patient,Observation", _id: patient.id },
    options: { postSearch },
  });
  assert.deepEqual(resources(everywhere).map((resource) => resource.id), [patient.id]);
}

// References: relative, absolute, of a Bundle's entry, contained.
const [observation] = resources(first);
const subject = observation.subject.reference;
const named = `${job.base}/${subject}`;
assert.equal((await client.resolve({ reference: subject })).id, patient.id);
assert.equal((await client.resolve({ reference: named })).id, patient.id);
const withPatient = await client.search({
  resourceType: "Observation",
  searchParams: { ...searchParams, _include: "Observation:subject" },
});
const found = await client.resolve({ reference: subject, context: withPatient });
assert.equal(found, resources(withPatient).find((resource) => resource.id === patient.id));

// Bundles: a batch's entries stand alone, a transaction's stand or fall together.
const entryOf = (method, url, resource) => ({ resource, request: { method, url } });
const observed = (reference) => ({
  resourceType: "Observation",
  status: "final",
  code: { text: "Cân nặng" },
  subject: { reference },
});
const batch = await client.batch({
  body: {
    resourceType: "Bundle",
    type: "batch",
    entry: [
      entryOf("GET", subject),
      entryOf("GET", "Patient/never-was"),
      entryOf("POST", "Observation", observed(subject)),
    ],
  },
});
assert.equal(batch.type, "batch-response");
const statuses = (bundle) => bundle.entry.map((entry) => entry.response.status.slice(0, 3));
assert.deepEqual(statuses(batch), ["200", "404", "201"]);
assert.equal(batch.entry[1].response.outcome.resourceType, "OperationOutcome");
const urn = `urn:uuid:${fresh()}`;
const made = { resourceType: "Patient", identifier: [{ system: MRN, value: urn }] };
const together = await client.transaction({
  body: {
    resourceType: "Bundle",
    type: "transaction",
    entry: [
      { fullUrl: urn, ...entryOf("POST", "Patient", made) },
      entryOf("POST", "Observation", observed(urn)),
    ],
  },
});
assert.deepEqual(statuses(together), ["201", "201"]);
const inside = await client.resolve({
  reference: together.entry[1].response.location.replace(`${job.base}/`, ""),
});
assert.ok(together.entry[0].response.location.includes(inside.subject.reference));
const refused = fresh();
assert.equal(
  await statusOf(client.transaction({
    body: {
      resourceType: "Bundle",
      type: "transaction",
      entry: [
        entryOf("POST", "Patient", { ...made, identifier: [{ system: MRN, value: refused }] }),
        entryOf("POST", "Observation", { resourceType: "Observation", status: "no such status" }),
      ],
    },
  })),
  422,
);
const left = await client.search({
  resourceType: "Patient",
  searchParams: { identifier: `${MRN}|${refused}` },
});
assert.equal(left.total, 0);

// Operations, and the end.
const outcome = await client.operation({
  name: "validate",
  resourceType: "Patient",
  input: { resourceType: "Patient", gender: "nobody's" },
});
assert.equal(outcome.issue[0].severity, "error");
const everything = await client.operation({
  name: "$everything",
  resourceType: "Patient",
  id: patient.id,
  method: "GET",
});
assert.ok(everything.entry.length >= 9);
const doomed = await client.create({ resourceType: "Basic", body: { resourceType: "Basic", code: { text: "x" } } });
await client.delete({ resourceType: "Basic", id: doomed.id });
assert.equal(await statusOf(client.read({ resourceType: "Basic", id: doomed.id })), 410);
assert.equal(await statusOf(client.read({ resourceType: "Basic", id: fresh() })), 404);
assert.equal(await statusOf(new Client({ baseUrl: job.base }).read({ resourceType: "Patient", id: "x" })), 401);
console.log("done");
