// The pages on an invented world: `npm run dev`, then /stub.html.
import { mount } from "svelte";
import App from "../App.svelte";
import { ContainerState } from "../gen/linkspan/v1/container_pb.js";
import "../app.css";
import { World } from "./world.js";

const world = new World();
world.runs();
const web = world.add({
  name: "web",
  image: "nginx:1.29",
  health: "healthy",
  ports: [{ hostIp: "127.0.0.1", hostPort: 8080, containerPort: 80 }],
});
world.add({ name: "job", image: "busybox", state: ContainerState.EXITED, exitCode: 3 });
for (const name of ["shop-web-1", "shop-db-1", "shop-cache-1"]) {
  world.add({ name, image: "shop", labels: { "com.docker.compose.project": "shop" } });
}
world.say(
  web.id,
  Array.from(
    { length: 100_000 },
    (_, number) => `\x1b[32mGET\x1b[0m /item/${number} 200 ${number % 97} ms`,
  ),
);
const target = document.getElementById("app");
if (target) mount(App, { target, props: { transport: world.transport(), shell: world.shell() } });
