// WebKitGTK calls the locale C.UTF-8 the language `C`, which is no language tag (BCP 47): whoever
// formats a number by it gets an exception, and uPlot does so while it is loaded. Imported first.
export {};

try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US", configurable: true });
}
