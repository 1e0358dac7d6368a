// The last known state, from one start of the window to the next: shown greyed until the daemon has
// been heard.
import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";

/** Not more than this is kept: it has to be read before the first paint. */
const LONGEST = 400_000;

export function remember<D extends DescMessage>(schema: D, message: MessageShape<D>): void {
  const text = toJsonString(schema, message);
  try {
    if (text.length <= LONGEST) localStorage.setItem(schema.typeName, text);
    else localStorage.removeItem(schema.typeName);
  } catch {
    // A window without storage begins without the past.
  }
}

export function forget(schema: DescMessage): void {
  try {
    localStorage.removeItem(schema.typeName);
  } catch {
    // As above.
  }
}

export function recall<D extends DescMessage>(schema: D): MessageShape<D> | undefined {
  try {
    const text = localStorage.getItem(schema.typeName);
    // A field that another version wrote is no reason to show nothing.
    return text ? fromJsonString(schema, text, { ignoreUnknownFields: true }) : undefined;
  } catch {
    return undefined;
  }
}
