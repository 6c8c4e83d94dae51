// fhirclient (client-js): an app that a citizen starts: discovery, authorize, PKCE, token, reads.
import smart from "fhirclient";
import { job, serve } from "./job.mjs";

const kept = new Map();
const storage = {
  get: async (key) => kept.get(key),
  set: async (key, value) => (kept.set(key, value), value),
  unset: async (key) => kept.delete(key),
};
const api = (request, response) => smart(request, response, storage);

serve({
  "/launch": async (request, response) => {
    await api(request, response).authorize({
      clientId: "vneid-app",
      scope: "openid fhirUser launch/patient offline_access patient/*.rs",
      iss: job.base,
      redirectUri: "/callback",
      pkceMode: "required",
    });
  },
  "/callback": async (request, response) => {
    const client = await api(request, response).ready();
    const patient = await client.patient.read();
    const former = client.state.tokenResponse.access_token;
    const visits = [];
    for await (const page of client.pages(`Encounter?patient=${client.patient.id}&_count=4`)) {
      visits.push(page.entry.length);
    }
    const claims = await client.request(
      `Claim?patient=${client.patient.id}&_count=2`,
      { pageLimit: 2, flat: true, resolveReferences: ["provider"] },
    );
    await client.refresh();
    return {
      patient,
      visits,
      claims: claims.length,
      fhirUser: client.getFhirUser(),
      user: (await client.user.read()).id,
      claimsOfToken: client.getIdToken(),
      refreshed: client.state.tokenResponse.access_token !== former,
      version: await client.getFhirVersion(),
      inCompartment: (await client.patient.request("Immunization")).resourceType,
      stranger: await client.request("Patient/somebody-else").catch((error) => error.status),
      written: await client.create({ resourceType: "Patient" }).catch((error) => error.status),
    };
  },
});
