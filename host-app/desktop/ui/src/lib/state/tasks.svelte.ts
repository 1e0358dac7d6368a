// Work that takes its time: pulls, pushes, loads, builds. It goes on while other pages are looked at,
// shows how far it is and can be broken off.
import type { TransferProgress } from "../../gen/linkspan/v1/registry_pb.js";
import { failureOf } from "../failure.js";
import type { Failure } from "../failure.js";

export type TaskState = "running" | "done" | "failed" | "cancelled";

/** One layer of a transfer, or one step of a build. */
export interface Part {
  id: string;
  status: string;
  /** Bytes; `total` 0: not known. */
  current: number;
  total: number;
}

/** Answers the page of what it made, where there is one. */
type Work = (task: Task) => Promise<string | undefined>;

/** More of a task's output is not kept. */
const KEPT = 5000;
/** Progress comes at any rate, and is shown at that of the eye. */
const GLANCE = 80;

export class Task {
  state = $state<TaskState>("running");
  failure = $state.raw<Failure>();
  /** What it is at, in a line. */
  status = $state("");
  parts = $state.raw<readonly Part[]>([]);
  output = $state.raw<readonly string[]>([]);
  /** The page of what it made; empty: there is none. */
  result = $state("");

  readonly id: number;
  readonly title: string;
  readonly #abort = new AbortController();
  #parts = new Map<string, Part>();
  #lines: string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(id: number, title: string) {
    this.id = id;
    this.title = title;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** All parts together, 0 to 1; undefined: not known. */
  get share(): number | undefined {
    const known = this.parts.filter(({ total }) => total > 0);
    if (known.length === 0) return undefined;
    const sum = known.reduce((sum, { current, total }) => sum + Math.min(1, current / total), 0);
    return sum / known.length;
  }

  cancel(): void {
    this.#abort.abort();
  }

  part(part: Part): void {
    this.#parts.set(part.id, part);
    this.#soon();
  }

  progress(progress: TransferProgress): void {
    const { id, status, current, total } = progress;
    // The first words of a pull come with the tag in the place of a layer, as Docker has it.
    if (id === "" || status.startsWith("Pulling from ")) this.say(status);
    else {
      const before = this.#parts.get(id);
      // The last words of a layer come without figures: what it had stays.
      const whole = total > 0n ? Number(total) : (before?.total ?? 0);
      const finished = /complete|exists|pushed/i.test(status);
      this.part({ id, status, current: finished ? whole : Number(current), total: whole });
    }
  }

  say(line: string): void {
    this.status = line;
    this.print(line);
  }

  /** Output, without being what it is at. */
  print(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT) this.#lines.splice(0, this.#lines.length - KEPT);
    this.#soon();
  }

  async run(work: Work): Promise<boolean> {
    try {
      this.result = (await work(this)) ?? "";
      this.state = "done";
    } catch (error) {
      if (this.signal.aborted) this.state = "cancelled";
      else {
        this.failure = failureOf(error);
        this.state = "failed";
      }
    } finally {
      this.#show();
    }
    return this.state === "done";
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => this.#show(), GLANCE);
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.parts = [...this.#parts.values()];
    this.output = [...this.#lines];
  }
}

export class TaskStore {
  tasks = $state.raw<readonly Task[]>([]);
  #next = 1;
  #ended: () => void;

  /** `ended` is called after each task, however it went. */
  constructor(ended: () => void = () => {}) {
    this.#ended = ended;
  }

  /** Begins it. */
  begin(title: string, work: Work): { task: Task; end: Promise<boolean> } {
    const task = new Task(this.#next++, title);
    this.tasks = [task, ...this.tasks];
    const end = task.run(work);
    void end.then(this.#ended);
    return { task, end };
  }

  dismiss(task: Task): void {
    task.cancel();
    this.tasks = this.tasks.filter((each) => each !== task);
  }
}
