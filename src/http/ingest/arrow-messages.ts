/**
 * Arrow IPC streams, looked at message by message before the Arrow library reads them. That library believes what a message says of its own
 * lengths, and holds a whole message in memory; here it is made sure that neither costs more than is stated.
 */
import { UserError } from '../../domain/errors.ts';
import { FlatTable } from './flat-table.ts';

/** The columns of one message: they are in memory at once, up to three times. */
export const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Names and types of columns, and where their bytes are. */
const MAX_METADATA_BYTES = 1024 * 1024;
/** Values that columns refer to by number are held, as texts, until others take their place. */
const MAX_DICTIONARY_VALUES = 1_000_000;
const MAX_DEPTH = 64;
/** Metadata that refers to the same part again and again says more than it is long. Honest metadata does so little or not at all. */
const MAX_REPETITION = 16;

/** Comes before the length of a message, since version 0.15 of Arrow. */
const CONTINUATION = -1;
const END_OF_STREAM = 0;
/** How an Arrow file begins: the same messages with an index behind them, which cannot be read as they come. */
const FILE_MAGIC = Buffer.from('ARRO').readInt32LE();

const SCHEMA = 1;
const DICTIONARY_BATCH = 2;
const RECORD_BATCH = 3;
/** Where the format has what, as numbers of fields. */
const MESSAGE = { headerType: 1, header: 2, bodyLength: 3, metadata: 4 };
const FIELDS = { ofSchema: 1, schemaMetadata: 2, name: 0, ofField: 5, fieldMetadata: 6 };
const KEY_VALUE = { key: 0, value: 1 };
const BATCH = { length: 0, nodes: 1, buffers: 2, variadicBufferCounts: 4 };
const DICTIONARY = { id: 0, data: 1, isDelta: 2 };
/** A node is a length and a number of nulls, a buffer an offset and a length. */
const NODE_BYTES = 16;

/** What is known of a stream from its earlier messages. */
interface StreamState {
  columnCount: number;
  /** What is held of each dictionary, by its id. */
  dictionaries: Map<number, { bytes: number; values: number }>;
}

/**
 * Passes a stream on as it comes, up to the first message that is too large or contradicts itself. Throws UserError LIMIT_EXCEEDED before any of the
 * columns of a message are read that are too large, and another Error for what is no Arrow IPC stream.
 */
export async function* checkedMessages(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = new ByteSource(body);
  const state: StreamState = { columnCount: 0, dictionaries: new Map() };
  for (;;) {
    let prefix = await source.take(4);
    yield prefix;
    if (prefix.length === 4 && prefix.readInt32LE() === CONTINUATION) {
      prefix = await source.take(4);
      yield prefix;
    }
    // A stream that ends in the middle is told of by the library.
    if (prefix.length < 4 || prefix.readInt32LE() === END_OF_STREAM) return;
    const metadataBytes = prefix.readInt32LE();
    if (metadataBytes === FILE_MAGIC) throw new Error('it is an Arrow file; write it as a stream (pyarrow.ipc.new_stream, polars write_ipc_stream)');
    if (metadataBytes < 0 || metadataBytes > MAX_METADATA_BYTES) throw new Error(`a message has ${metadataBytes} bytes of metadata; at most ${MAX_METADATA_BYTES} are taken`);
    const metadata = await source.take(metadataBytes);
    const bodyBytes = metadata.length < metadataBytes ? 0 : checkMessage(metadata, state);
    yield metadata;
    yield* source.pass(bodyBytes);
  }
}

/** Answers how many bytes of columns follow. */
function checkMessage(metadata: Uint8Array, state: StreamState): number {
  const message = FlatTable.root(metadata);
  const bodyBytes = message.long(MESSAGE.bodyLength);
  if (bodyBytes < 0) throw new Error('a message has a negative length');
  if (bodyBytes > MAX_BODY_BYTES) throw tooLarge(`a record batch of ${bodyBytes} bytes; at most ${MAX_BODY_BYTES} are taken at once`);
  const budget = new Budget(metadata.length * MAX_REPETITION);
  spendOnTexts(message, MESSAGE.metadata, budget);
  const header = message.table(MESSAGE.header);
  const type = message.byte(MESSAGE.headerType);
  if (header === null) throw new Error('a message says nothing');
  if (type === SCHEMA) {
    state.columnCount = checkFields(header, FIELDS.ofSchema, budget, 1);
    spendOnTexts(header, FIELDS.schemaMetadata, budget);
    state.dictionaries.clear();
  } else if (type === DICTIONARY_BATCH) checkDictionary(header, bodyBytes, state);
  else if (type === RECORD_BATCH) checkBatch(header, bodyBytes, state.columnCount);
  else throw new Error(`a message has the unknown type ${type}`);
  return bodyBytes;
}

function tooLarge(what: string): UserError {
  return UserError.of('LIMIT_EXCEEDED', `the Arrow stream has ${what}; write smaller record batches (pyarrow: writer.write_table(table, max_chunksize=100_000))`);
}

/** Answers how many fields there are, their own fields not counted. */
function checkFields(parent: FlatTable, place: number, budget: Budget, depth: number): number {
  if (depth > MAX_DEPTH) throw new Error(`columns are nested more than ${MAX_DEPTH} levels deep`);
  let count = 0;
  for (const field of parent.tables(place)) {
    count += 1;
    budget.spend(4 + field.lengthOf(FIELDS.name, 1));
    spendOnTexts(field, FIELDS.fieldMetadata, budget);
    checkFields(field, FIELDS.ofField, budget, depth + 1);
  }
  return count;
}

function spendOnTexts(table: FlatTable, place: number, budget: Budget): void {
  for (const pair of table.tables(place)) budget.spend(4 + pair.lengthOf(KEY_VALUE.key, 1) + pair.lengthOf(KEY_VALUE.value, 1));
}

function checkDictionary(dictionary: FlatTable, bodyBytes: number, { dictionaries }: StreamState): void {
  const batch = dictionary.table(DICTIONARY.data);
  if (batch === null) throw new Error('a dictionary has no values');
  checkBatch(batch, bodyBytes, 1);
  const [nodeLength = 0] = batch.longs(BATCH.nodes, NODE_BYTES);
  if (nodeLength !== batch.long(BATCH.length)) throw new Error('a dictionary has two lengths');
  const id = dictionary.long(DICTIONARY.id);
  const known = dictionary.byte(DICTIONARY.isDelta) === 0 ? undefined : dictionaries.get(id);
  dictionaries.set(id, { bytes: bodyBytes + (known?.bytes ?? 0), values: nodeLength + (known?.values ?? 0) });
  const held = [...dictionaries.values()];
  const [bytes, values] = [held.reduce((sum, each) => sum + each.bytes, 0), held.reduce((sum, each) => sum + each.values, 0)];
  if (bytes > MAX_BODY_BYTES || values > MAX_DICTIONARY_VALUES) {
    throw UserError.of('LIMIT_EXCEEDED', `the Arrow stream has dictionaries of ${values} values and ${bytes} bytes; at most ${MAX_DICTIONARY_VALUES} values and ${MAX_BODY_BYTES} bytes are held, so send such columns as plain text`);
  }
}

/** Each column takes a bit a row, at the least. A message with fewer would be read for ever, or be filled up to the length that it claims. */
function checkBatch(batch: FlatTable, bodyBytes: number, columnCount: number): void {
  const rows = batch.long(BATCH.length);
  if (rows < 0 || rows * Math.max(1, columnCount) > 8 * bodyBytes) throw new Error(`a record batch claims ${rows} rows of ${columnCount} columns, and has ${bodyBytes} bytes`);
  batch.lengthOf(BATCH.nodes, NODE_BYTES);
  const bufferCount = batch.lengthOf(BATCH.buffers, NODE_BYTES);
  let variadicCount = 0;
  for (const count of batch.longs(BATCH.variadicBufferCounts, 8)) {
    variadicCount += count;
    if (count < 0 || variadicCount > bufferCount) throw new Error('a record batch claims more buffers than it has');
  }
}

/** Bytes that may still be described. */
class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  spend(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0) throw new Error('the metadata of a message refers to itself again and again');
  }
}

/** A body in pieces, read in the lengths that are wanted. */
class ByteSource {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #unread: Buffer = Buffer.alloc(0);

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#pieces = body[Symbol.asyncIterator]();
  }

  /** So many bytes; fewer where the body ends before. */
  async take(count: number): Promise<Buffer> {
    const taken: Buffer[] = [];
    for await (const piece of this.pass(count)) taken.push(piece);
    return taken.length === 1 ? taken[0]! : Buffer.concat(taken);
  }

  /** The same, as it comes. */
  async *pass(count: number): AsyncGenerator<Buffer> {
    for (let missing = count; missing > 0;) {
      if (this.#unread.length === 0 && !await this.#readOn()) return;
      const piece = this.#unread.subarray(0, missing);
      this.#unread = this.#unread.subarray(piece.length);
      missing -= piece.length;
      yield piece;
    }
  }

  async #readOn(): Promise<boolean> {
    const { done, value } = await this.#pieces.next();
    if (done === true) return false;
    this.#unread = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return true;
  }
}
