import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  // The oldest web views that Tauri 2 meets: WebKitGTK of Debian 12, Safari of macOS 11, WebView2.
  build: {
    target: ["es2022", "safari15"],
    chunkSizeWarningLimit: 900,
    // The pages on an invented world, for the tests in a browser.
    ...(mode === "stub" && { outDir: "dist-stub", rolldownOptions: { input: "stub.html" } }),
  },
  define: { __VERSION__: JSON.stringify(process.env.npm_package_version ?? "0.0.0") },
  server: { port: 1420, strictPort: true },
  preview: { port: 1421, strictPort: true, host: "127.0.0.1" },
  // Svelte has a build for servers too; the tests want the one for browsers.
  resolve: mode === "test" ? { conditions: ["browser"] } : {},
  test: {
    environment: "jsdom",
    include: ["tests/**/*.test.ts"],
    setupFiles: ["tests/setup.ts"],
    // On a busy machine the first render alone may take seconds.
    testTimeout: 60_000,
  },
}));
