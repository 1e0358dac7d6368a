// SGR sequences (ECMA-48, 8.3.117) as spans; every other control sequence is left out.

export interface Span {
  text: string;
  /** 0 to 15 of the terminal's palette; undefined: the page's own colour. */
  colour: number | undefined;
  bold: boolean;
  underline: boolean;
}

// eslint-disable-next-line no-control-regex
const SEQUENCE =
  /\x1b(?:\[([0-9;:]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]/g;

export function spans(line: string): Span[] {
  const found: Span[] = [];
  let style: Omit<Span, "text"> = { colour: undefined, bold: false, underline: false };
  let from = 0;
  const take = (to: number) => {
    if (to > from) found.push({ text: line.slice(from, to), ...style });
  };
  for (const match of line.matchAll(SEQUENCE)) {
    take(match.index);
    from = match.index + match[0].length;
    if (match[2] === "m") style = restyled(style, match[1] ?? "");
  }
  take(line.length);
  return found;
}

/** What is read, without any sequence: for searching. */
export function plain(line: string): string {
  return line.replace(SEQUENCE, "");
}

function restyled(style: Omit<Span, "text">, parameters: string): Omit<Span, "text"> {
  const next = { ...style };
  const codes = parameters.split(/[;:]/).map(Number);
  for (let index = 0; index < codes.length; index++) {
    const code = codes[index] ?? 0;
    if (code === 0) Object.assign(next, { colour: undefined, bold: false, underline: false });
    else if (code === 1) next.bold = true;
    else if (code === 4) next.underline = true;
    else if (code === 22) next.bold = false;
    else if (code === 24) next.underline = false;
    else if (code >= 30 && code <= 37) next.colour = code - 30;
    else if (code >= 90 && code <= 97) next.colour = code - 90 + 8;
    else if (code === 39) next.colour = undefined;
    else if (code === 38 || code === 48) {
      // 5;N of a palette, 2;R;G;B: only the first sixteen of the palette are shown as colours.
      const kind = codes[index + 1];
      const palette = codes[index + 2];
      if (code === 38 && kind === 5)
        next.colour = palette !== undefined && palette < 16 ? palette : undefined;
      index += kind === 2 ? 4 : 2;
    }
  }
  return next;
}
