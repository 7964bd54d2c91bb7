/** Which ranks run on one host, where that makes two levels: hosts of equally many workers, and more than one of each. */

export class Hosts {
  readonly numHosts: number;
  /** Workers on each. */
  readonly perHost: number;

  private constructor(numHosts: number, perHost: number) {
    this.numHosts = numHosts;
    this.perHost = perHost;
  }

  /**
   * The hosts behind `hostIds`, given by rank; null where there is one level: one host, one worker on each, hosts of
   * different size, or ranks that are not ordered by host.
   */
  static of(hostIds: readonly string[]): Hosts | null {
    const numHosts = new Set(hostIds).size;
    const perHost = hostIds.length / numHosts;
    const isEven = hostIds.every((id, rank) => id === hostIds[rank - (rank % perHost)]);
    return numHosts > 1 && perHost > 1 && Number.isInteger(perHost) && isEven ? new Hosts(numHosts, perHost) : null;
  }

  hostOf(rank: number): number {
    return Math.floor(rank / this.perHost);
  }

  /** The ranks of a host. */
  ranksOf(host: number): number[] {
    return Array.from({ length: this.perHost }, (_, place) => host * this.perHost + place);
  }

  /** The other ranks of this one's host, the next one first. */
  neighboursOf(rank: number): number[] {
    const ranks = this.ranksOf(this.hostOf(rank));
    const place = rank % this.perHost;
    return [...ranks.slice(place + 1), ...ranks.slice(0, place)];
  }

  /** The ranks that have this one's place in their host, by host. */
  ranksLike(rank: number): number[] {
    return Array.from({ length: this.numHosts }, (_, host) => host * this.perHost + (rank % this.perHost));
  }
}
