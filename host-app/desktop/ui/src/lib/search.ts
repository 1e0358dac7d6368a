// The words of a search field.

/** Whether all of them are to be found, in whatever case. */
export function fits(words: string, ...texts: readonly string[]): boolean {
  const text = texts.join(" ").toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
