/** Every layout, the most particular first. */
import { accelerate } from './accelerate.ts';
import { deepspeed } from './deepspeed.ts';
import { huggingFace } from './hugging-face.ts';
import { keras } from './keras.ts';
import type { CheckpointReading, FoundCheckpoint, LayoutReader } from './layout.ts';
import { lightning } from './lightning.ts';
import { megatron } from './megatron.ts';
import { orbax } from './orbax.ts';
import { plain } from './plain.ts';
import { safetensors } from './safetensors.ts';

export const LAYOUT_READERS: readonly LayoutReader[] = [lightning, huggingFace, deepspeed, megatron, accelerate, orbax, keras, safetensors, plain];

/** The first layout that knows it, and what it says. */
export function readLayout(found: FoundCheckpoint): { reader: LayoutReader; reading: CheckpointReading } {
  for (const reader of LAYOUT_READERS) {
    const reading = reader.read(found);
    if (reading !== null) return { reader, reading };
  }
  throw new Error('the plain layout knows everything');
}
