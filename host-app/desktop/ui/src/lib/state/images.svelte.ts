// Every image of the machine.
import type { ImageSummary } from "../../gen/linkspan/v1/image_pb.js";
import type { Api } from "../api.js";
import { shortId } from "../format.js";
import { Listed } from "./listed.svelte.js";

export type { ImageSummary };

export class ImageStore extends Listed<ImageSummary> {
  constructor(api: Api) {
    // How many containers have it changes with containers.
    super(api, ["image", "container"]);
  }

  protected async list(options: { signal?: AbortSignal }): Promise<ImageSummary[]> {
    const { images } = await this.api.images.list({ all: true }, options);
    return images.toSorted((a, b) => titleOf(a).localeCompare(titleOf(b)));
  }
}

/** Its first name; without one, its id. */
export function titleOf(image: ImageSummary): string {
  return image.tags[0] ?? shortId(image.id);
}
