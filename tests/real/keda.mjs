// node keda.mjs < documents.yaml: check KEDA's objects against the schemas of its own definitions; prints how many.
// chart_tools.sh lays it beside the libraries that it imports.
import { readFileSync } from 'node:fs'
import * as yaml from 'js-yaml'
import { ScaledJob, ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1'

let checked = 0
for (const document of yaml.loadAll(readFileSync(0, 'utf8'))) {
  const kind = { ScaledJob, ScaledObject }[document?.kind]
  if (kind) {
    new kind(document).validate()
    checked += 1
  }
}
console.log(checked)
