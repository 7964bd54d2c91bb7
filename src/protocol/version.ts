/** Two processes that speak different versions of the protocol refuse one another in the first message. */
export const protocolVersion = 3;
