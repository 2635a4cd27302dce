import { Type } from 'typebox'
import { listOf, nullable, oneOf } from './common.ts'

const CheckSchema = Type.Object(
  {
    name: Type.String(),
    status: oneOf(['ok', 'warn', 'fail']),
    found: Type.String(),
    mend: nullable.string({ description: 'what to do; null where nothing is to be done' })
  },
  { $id: 'Check' }
)

export const DoctorSchema = Type.Object(
  { ok: Type.Boolean({ description: 'nothing fails' }), checks: listOf(CheckSchema) },
  { $id: 'Doctor' }
)

export const doctorComponents = [CheckSchema, DoctorSchema]
