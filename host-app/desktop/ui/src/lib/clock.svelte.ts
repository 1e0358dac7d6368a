// The present, for ages: what reads it is shown anew every ten seconds, as long as somebody looks.
import { createSubscriber } from "svelte/reactivity";

const TICK = 10_000;
const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, TICK);
  return () => clearInterval(timer);
});

/** Milliseconds since the Unix epoch. */
export function now(): number {
  subscribe();
  return Date.now();
}
