import "./lib/language.js";
import { mount } from "svelte";
import App from "./App.svelte";
import { tauriPipe } from "./lib/ipc/tauri.js";
import { pipeTransport } from "./lib/ipc/transport.js";
import { tauriShell } from "./lib/shell.js";
import "./app.css";

const target = document.getElementById("app");
if (!target) throw new Error("the page has no place for the app");
mount(App, { target, props: { transport: pipeTransport(tauriPipe), shell: tauriShell } });
