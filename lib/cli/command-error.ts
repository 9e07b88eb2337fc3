/** A command that cannot do its work for a reason that the message says in full. */
export class CommandError extends Error {}
