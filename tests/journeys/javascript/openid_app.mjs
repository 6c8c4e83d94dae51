// openid-client, a certified relying party: discovery, PKCE, id_token, refresh, revocation.
import * as oauth from "openid-client";
import { job, serve } from "./job.mjs";

const insecure = { execute: [oauth.allowInsecureRequests] }; // of loopback alone
const issuer = new URL(job.origin);
const config = await oauth.discovery(issuer, "vneid-app", undefined, oauth.None(), insecure);
const state = oauth.randomState();
const nonce = oauth.randomNonce();
const verifier = oauth.randomPKCECodeVerifier();
const addressOf = (request) => new URL(request.url, `http://${request.headers.host}`);

serve({
  "/launch": async (request, response) => {
    const url = oauth.buildAuthorizationUrl(config, {
      redirect_uri: new URL("/callback", addressOf(request)).href,
      scope: "openid fhirUser offline_access patient/*.rs",
      aud: job.base,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state,
      nonce,
    });
    response.writeHead(302, { location: url.href }).end();
  },
  "/callback": async (request) => {
    const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce };
    const url = addressOf(request);
    const first = await oauth.authorizationCodeGrant(config, url, { ...checks, idTokenExpected: true });
    const claims = first.claims();
    const second = await oauth.refreshTokenGrant(config, first.refresh_token);
    const get = (token) =>
      oauth.fetchProtectedResource(config, token, new URL(`${job.base}/Patient`), "GET");
    const read = await (await get(second.access_token)).json();
    await oauth.tokenRevocation(config, second.refresh_token);
    const after = await get(second.access_token).catch((error) => error.status);
    const again = await oauth
      .authorizationCodeGrant(config, url, checks)
      .catch((error) => error.error);
    return { claims, patients: read.total, after, again, patient: second.patient };
  },
  "/system": async () => {
    const key = await crypto.subtle.importKey(
      "jwk",
      job.key,
      { name: "ECDSA", namedCurve: "P-384" },
      false,
      ["sign"],
    );
    // SMART's `aud` is the token URL; this client's own is the issuer (RFC 7523bis).
    const aud = config.serverMetadata().token_endpoint;
    const proof = oauth.PrivateKeyJwt(
      { key, kid: job.key.kid },
      { [oauth.modifyAssertion]: (_header, payload) => Object.assign(payload, { aud }) },
    );
    const system = await oauth.discovery(issuer, job.client, undefined, proof, insecure);
    const tokens = await oauth.clientCredentialsGrant(system, { scope: "system/*.rs" });
    const known = await oauth.tokenIntrospection(system, tokens.access_token);
    return { scope: tokens.scope, active: known.active, client: known.client_id };
  },
});
