// KEY=VALUE, one a line, as it is typed into a form.

/** The lines that say something. */
export function lines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** What is wrong with them; undefined: nothing. */
export function fault(text: string): string | undefined {
  const wrong = lines(text).find((line) => !/^[^=\s]+=/.test(line));
  return wrong === undefined ? undefined : `\`${wrong}\` is not KEY=VALUE`;
}

export function pairs(text: string): Record<string, string> {
  return Object.fromEntries(
    lines(text).map((line) => {
      const [key = "", ...value] = line.split("=");
      return [key, value.join("=")];
    }),
  );
}
