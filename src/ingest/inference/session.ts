import { InferenceSession } from 'onnxruntime-node';

import { TidemarkError } from '../../ground/errors.ts';
import { messageOf } from './failure.ts';

/** What runs the graph. There is no fallback from one to another: a slow answer to a wrong setting. */
export type Provider = 'cpu' | 'cuda';

/**
 * Loads a graph. `threads` is how many one run may use.
 * Throws BAD_CONFIG when the provider cannot be had on this machine, MODEL_INVALID when ONNX
 * Runtime does not take the graph.
 */
export async function openSession(
  path: string,
  { threads, provider }: { threads: number; provider: Provider },
): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(path, {
      executionProviders: [provider],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      logSeverityLevel: 3,
      // Idle threads that spin would take the cores that the store and the server need.
      extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
    });
  } catch (error) {
    const message = messageOf(error);
    // ONNX Runtime appends the provider before it reads the graph, and says so when that fails.
    if (provider !== 'cpu' && /ExecutionProvider|provider|backend/i.test(message)) {
      throw new TidemarkError(
        'BAD_CONFIG',
        `the execution provider is ${provider}, expected one that this machine can load: ${message}`,
        { cause: error },
      );
    }
    throw new TidemarkError('MODEL_INVALID', `ONNX Runtime does not take ${path}: ${message}`, {
      cause: error,
    });
  }
}

/** A tensor that a graph takes or gives. A dimension that varies is a name or -1. */
export interface TensorSpec {
  name: string;
  type: string;
  shape: readonly (number | string)[];
}

/** What a session's graph takes. */
export function inputsOf(session: InferenceSession): TensorSpec[] {
  return session.inputMetadata.map(specOf);
}

/** What a session's graph gives. */
export function outputsOf(session: InferenceSession): TensorSpec[] {
  return session.outputMetadata.map(specOf);
}

function specOf(metadata: InferenceSession.ValueMetadata): TensorSpec {
  return metadata.isTensor
    ? { name: metadata.name, type: metadata.type, shape: metadata.shape }
    : { name: metadata.name, type: 'no tensor', shape: [] };
}
