// Numbers and times as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Decimal units, as Docker shows sizes. */
export function bytes(count: bigint | number): string {
  let value = Number(count);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Microseconds. */
export function duration(us: bigint | number): string {
  const value = Number(us);
  if (value < 1000) return `${value.toFixed(0)} µs`;
  if (value < 1_000_000) return `${(value / 1000).toFixed(value < 10_000 ? 1 : 0)} ms`;
  if (value < 60_000_000) return `${(value / 1_000_000).toFixed(2)} s`;
  const minutes = Math.floor(value / 60_000_000);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 60 / 24)} days`;
}

/** Nanoseconds since the Unix epoch, seen from `now` (milliseconds). */
export function ago(unixNanos: bigint, now: number): string {
  if (unixNanos === 0n) return "never";
  const seconds = Math.max(0, Math.floor(now / 1000 - Number(unixNanos / 1_000_000_000n)));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ago`;
  return `${Math.floor(hours / 24)} days ago`;
}

/** Milliseconds of a time in nanoseconds since the Unix epoch, for `Date`. */
export function millis(unixNanos: bigint): number {
  return Number(unixNanos / 1_000_000n);
}

/** Without `sha256:`, twelve digits. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}

/** `1 line`, `2,000 lines`. */
export function counted(count: number, thing: string): string {
  return `${count.toLocaleString()} ${thing}${count === 1 ? "" : "s"}`;
}
