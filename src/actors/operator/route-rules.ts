export { RULES, type Rule } from '../../dataplane/route-rules.ts'
