// The pages on an invented world: `npm run dev`, then /stub.html?world=NAME.
import { mount } from "svelte";
import App from "../App.svelte";
import "../app.css";
import { invented } from "./worlds.js";

const world = invented(new URLSearchParams(location.search).get("world") ?? "busy");
// For the tests in a browser, which look at what was asked.
Object.assign(globalThis, { world });
const target = document.getElementById("app");
if (target) mount(App, { target, props: { transport: world.transport(), shell: world.shell() } });
