import type { Embedder } from './inference/embedder.ts';
import { openModel } from './inference/models.ts';
import { OnnxEmbedder, type OnnxSettings } from './inference/onnx-embedder.ts';

export interface EmbedderState {
  name: string;
  state: 'warming' | 'warm' | 'failed';
  message?: string;
}

/** The models in use, each loaded once, when it is first asked for. */
export class Embedders {
  private modelsDir: string;
  private settings: OnnxSettings;
  private started = new Map<string, Promise<Embedder>>();
  private found = new Map<string, EmbedderState>();

  constructor(
    modelsDir: string,
    { provider, threads }: Required<Pick<OnnxSettings, 'provider' | 'threads'>>,
  ) {
    this.modelsDir = modelsDir;
    this.settings = { provider, threads };
  }

  /** The model of that name, warm. Throws MODEL_INVALID; the next call then tries again. */
  async get(name: string): Promise<Embedder> {
    let embedder = this.started.get(name);
    if (embedder === undefined) {
      embedder = this.start(name);
      this.started.set(name, embedder);
    }
    return embedder;
  }

  /** Of every model that was asked for. */
  states(): EmbedderState[] {
    return [...this.found.values()];
  }

  async close(): Promise<void> {
    const started = await Promise.allSettled(this.started.values());
    await Promise.all(
      started.map(async (each) => (each.status === 'fulfilled' ? each.value.close() : undefined)),
    );
  }

  private async start(name: string): Promise<Embedder> {
    this.found.set(name, { name, state: 'warming' });
    try {
      const embedder = await OnnxEmbedder.start(
        await openModel(this.modelsDir, name),
        this.settings,
      );
      this.found.set(name, { name, state: 'warm' });
      return embedder;
    } catch (error) {
      this.started.delete(name);
      const message = error instanceof Error ? error.message : String(error);
      this.found.set(name, { name, state: 'failed', message });
      throw error;
    }
  }
}
