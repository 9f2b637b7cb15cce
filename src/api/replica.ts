import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import { promoteAnswer } from './schemas/replica.ts';

export async function replicaRoutes(server: ApiServer, context: Context): Promise<void> {
  const { store, promote } = context;
  server.post(
    '/v1/replica/promote',
    {
      // What reads there are too many of, a new leader may be wanted for.
      config: { produces: [JSON_TYPE], vital: true },
      schema: {
        tags: ['operations'],
        summary: 'Promote this read replica',
        description:
          'Ends following: from here on this server takes writes and goes on with the Kafka sources of its configuration, from what it has stored. ' +
          'Its leader must not take any more: what it has that did not come here is lost to this server, and that leader can follow it only if there is nothing such. ' +
          'Other replicas of that leader can follow this server, unless they have more than it has. Refused while the replica has not come as far as the horizon of a view’s retention: until then it lacks what was in force there. Take `follow` out of the configuration before the next start.',
        response: {
          200: answer('It leads now.', promoteAnswer),
          ...problems('NOT_A_REPLICA', 'STORE_UNAVAILABLE'),
        },
      },
    },
    async () => {
      await promote();
      return { snapshot: store.snapshot };
    },
  );
}
