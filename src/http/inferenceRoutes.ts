import type { InferenceRoute } from './inference.ts';
import { CHAT } from './routes/chat.ts';
import { COMPLETIONS } from './routes/completions.ts';
import { EMBEDDINGS } from './routes/embeddings.ts';
import { GENERATE, GENERATE_STREAM } from './routes/generate.ts';
import { INFER } from './routes/infer.ts';
import { RESPONSES } from './routes/responses.ts';

/** Where an inference API answers. */
export interface InferencePath {
  /** In logs and metrics. */
  readonly name: string;
  /** As express writes it, `:name` for a segment that is a parameter. */
  readonly path: string;
  readonly route: InferenceRoute;
}

/** Every inference API. What stands here is served, and can be replayed. */
export const INFERENCE_ROUTES: readonly InferencePath[] = [
  { name: 'embeddings', path: '/v1/embeddings', route: EMBEDDINGS },
  { name: 'completions', path: '/v1/completions', route: COMPLETIONS },
  { name: 'chat', path: '/v1/chat/completions', route: CHAT },
  { name: 'responses', path: '/v1/responses', route: RESPONSES },
  { name: 'infer', path: '/v2/models/:model/infer', route: INFER },
  { name: 'infer', path: '/v2/models/:model/versions/:version/infer', route: INFER },
  { name: 'generate', path: '/v2/models/:model/generate', route: GENERATE },
  { name: 'generate', path: '/v2/models/:model/versions/:version/generate', route: GENERATE },
  { name: 'generate stream', path: '/v2/models/:model/generate_stream', route: GENERATE_STREAM },
  {
    name: 'generate stream',
    path: '/v2/models/:model/versions/:version/generate_stream',
    route: GENERATE_STREAM,
  },
];
