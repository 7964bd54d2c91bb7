/** Limits of waiting that differ from one another, so that a test sees which of them ended a wait. */
import type { Patience } from '../../coordinator/membership-state.js';

export const patience: Patience = {
  heartbeatTimeoutMs: 100,
  loadingTimeoutMs: 1_000,
  readyTimeoutMs: 3_000,
  stepTimeoutMs: 500,
  betweenStepsTimeoutMs: 800,
  connectTimeoutMs: 300,
  workersTimeoutMs: 2_000,
  returnTimeoutMs: 400,
};
