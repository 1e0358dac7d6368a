// One line a test, and a closing line that the project's own test runner reads.
import type {
  FullResult,
  Reporter,
  TestCase,
  TestError,
  TestResult,
} from "@playwright/test/reporter";

export default class ClosingLine implements Reporter {
  #passed = 0;
  #failed = 0;

  onTestEnd(test: TestCase, result: TestResult): void {
    const passed = result.status === "passed";
    if (result.status === "skipped") {
      console.log(`skipped: ${test.title}`);
      return;
    }
    if (passed) this.#passed += 1;
    else this.#failed += 1;
    console.log(`${passed ? "ok" : "FAILED"} ${test.title} (${result.duration} ms)`);
    for (const error of result.errors) console.log(error.message ?? error.value);
  }

  onError(error: TestError): void {
    this.#failed += 1;
    console.log(error.message ?? error.value);
  }

  onEnd(_result: FullResult): void {
    console.log(`pages in a browser: ${this.#passed} passed, ${this.#failed} failed`);
  }

  printsToStdio(): boolean {
    return true;
  }
}
