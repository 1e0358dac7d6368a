// Which page shows: the hash of the address, so that reloading and going back work.

export type PageName = "machine" | "containers" | "images" | "volumes" | "networks" | "why";

export interface Route {
  page: PageName;
  /** Of a container, an image, ...; empty: the list. */
  id: string;
  tab: string;
}

const PAGES: readonly PageName[] = [
  "machine",
  "containers",
  "images",
  "volumes",
  "networks",
  "why",
];

export function parse(hash: string): Route {
  const [page = "", id = "", tab = ""] = hash
    .replace(/^#\/?/, "")
    .split("/")
    .map(decodeURIComponent);
  const known = PAGES.find((name) => name === page);
  return known ? { page: known, id, tab } : { page: "machine", id: "", tab: "" };
}

export function link(page: PageName, id = "", tab = ""): string {
  const parts = [page, id, tab].filter((part) => part !== "");
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

class Router {
  route = $state.raw<Route>(parse(location.hash));

  constructor() {
    addEventListener("hashchange", () => (this.route = parse(location.hash)));
  }
}

export const router = new Router();
