/** What must be equal of the data wherever a run reads it. */
import type { Facts } from '../protocol/facts.js';
import type { Dataset } from './dataset.js';

/** Rows and content of a dataset; a custom one without a fingerprint is known by its length alone. */
export async function dataFacts(split: string, data: Dataset): Promise<Facts> {
  const digest = await data.fingerprint?.();
  return {
    [`rows of the ${split} data`]: String(data.length),
    ...(digest !== undefined && { [`digest of the ${split} data`]: digest }),
  };
}
