// jsdom has neither; nothing is measured in these tests.
class Nothing {
  observe(): void {}
  unobserve(): void {}
  disconnect(): void {}
}
globalThis.ResizeObserver ??= Nothing;
