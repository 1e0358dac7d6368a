import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  // The oldest web views that Tauri 2 meets: WebKitGTK of Debian 12, Safari of macOS 11, WebView2.
  build: { target: ["es2022", "safari15"], chunkSizeWarningLimit: 900 },
  define: { __VERSION__: JSON.stringify(process.env.npm_package_version ?? "0.0.0") },
  server: { port: 1420, strictPort: true },
  // Svelte has a build for servers too; the tests want the one for browsers.
  resolve: mode === "test" ? { conditions: ["browser"] } : {},
  test: { environment: "jsdom", include: ["tests/**/*.test.ts"], setupFiles: ["tests/setup.ts"] },
}));
