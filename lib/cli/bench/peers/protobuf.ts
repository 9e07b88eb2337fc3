// The few parts of protobuf's wire format that an ONNX model needs: https://protobuf.dev/programming-guides/encoding

/** One field of a message: its tag and its bytes. */
export type Field = Buffer

export function message(...fields: readonly (Field | readonly Field[])[]): Buffer {
  return Buffer.concat(fields.flat())
}

export function integerField(number: number, value: number): Field {
  return Buffer.concat([varint(number << 3), varint(value)])
}

export function bytesField(number: number, value: string | Buffer): Field {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes])
}

/** Non-negative integers, seven bits at a time. */
function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest > 127) {
    bytes.push((rest % 128) | 128)
    rest = Math.floor(rest / 128)
  }
  return Buffer.from([...bytes, rest])
}
