// What a client's script is given (on its standard input), and small helps for its claims.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

/** `base` (the FHIR base), `origin`, `token`, … as the test gave them. */
export const job = JSON.parse(readFileSync(0, "utf8"));

export const MRN = "urn:example:mrn";

/** A value that no other test uses. */
export const fresh = () => crypto.randomUUID();

/** The resources of a Bundle. */
export const resources = (bundle) => (bundle.entry ?? []).map((entry) => entry.resource);

/** Serve an app on a free port of loopback, and say its address on the standard output. */
export function serve(pages) {
  const app = createServer(async (request, response) => {
    try {
      const page = pages[new URL(request.url, "http://app").pathname];
      const found = await page(request, response);
      if (found !== undefined) {
        response.writeHead(200, { "content-type": "application/json" });
        response.end(JSON.stringify(found));
      }
    } catch (error) {
      response.writeHead(500, { "content-type": "text/plain" });
      response.end(String(error.stack ?? error));
    }
  });
  app.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${app.address().port}`));
}
