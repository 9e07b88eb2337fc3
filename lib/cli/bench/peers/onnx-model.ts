import { bytesField, integerField, message } from './protobuf'

/** Numbers of onnx.proto's TensorProto.DataType. */
export const onnxTypes = { float32: 1, float16: 10, int32: 6 } as const
export type OnnxType = keyof typeof onnxTypes

export interface OnnxValue {
  readonly name: string
  readonly type: OnnxType
  readonly rank: number
  /** Lengths of the axes where they are fixed. */
  readonly dims?: readonly number[]
}
export interface OnnxNode {
  readonly op: string
  /** '' is ONNX's own. */
  readonly domain: string
  /** Integer attributes. */
  readonly attributes: Readonly<Record<string, number>>
  /** An input that the node leaves out is null. */
  readonly inputs: readonly (OnnxValue | null)[]
  readonly outputs: readonly OnnxValue[]
}

const irVersion = 10
const opsets = [['', 23], ['com.microsoft', 1]] as const

/** A model of one node. Field numbers are onnx.proto's. */
export function onnxModel({ op, domain, attributes, inputs, outputs }: OnnxNode): Buffer {
  const given = inputs.filter((input) => input !== null)
  const node = message(
    inputs.map((input) => bytesField(1, input?.name ?? '')), outputs.map(({ name }) => bytesField(2, name)), bytesField(3, 'node'), bytesField(4, op),
    Object.entries(attributes).map(([name, value]) => bytesField(5, message(bytesField(1, name), integerField(3, value), integerField(20, 2)))),
    bytesField(7, domain),
  )
  const graph = message(
    bytesField(1, node), bytesField(2, 'graph'), given.map((value) => bytesField(11, valueInfo(value))),
    outputs.map((value) => bytesField(12, valueInfo(value))),
  )
  const imports = opsets.map(([name, version]) => bytesField(8, message(bytesField(1, name), integerField(2, version))))
  return message(integerField(1, irVersion), bytesField(7, graph), imports)
}

function valueInfo({ name, type, rank, dims: fixed }: OnnxValue): Buffer {
  const dims = Array.from({ length: rank }, (_, axis) => bytesField(1, fixed ? integerField(1, fixed[axis]!) : bytesField(2, `${name}_${axis}`)))
  const tensorType = message(integerField(1, onnxTypes[type]), bytesField(2, message(dims)))
  return message(bytesField(1, name), bytesField(2, bytesField(1, tensorType)))
}
