{{- /*
What a pod is told of its node: dict "root" "pool". Of each fact, the first of: env of the pool; the field of the pod that
nodeFacts names; what the node selector asks for, which is so wherever the pod runs; of the zone, the label that API servers
from 1.35 on copy from the node. A field that is not there is an empty variable, and the agent asks the cloud.
*/ -}}
{{- define "millhand.nodeFacts" -}}
{{- $pool := .pool -}}
{{- $zone := index $pool.nodeSelector "topology.kubernetes.io/zone" | default "" -}}
{{- $type := index $pool.nodeSelector "node.kubernetes.io/instance-type" | default "" -}}
{{- $zoneField := $pool.nodeFacts.zone -}}
{{- if and (not $zoneField) (not $zone) (semverCompare ">=1.35-0" .root.Capabilities.KubeVersion.Version) -}}
{{- $zoneField = "metadata.labels['topology.kubernetes.io/zone']" -}}
{{- end -}}
{{- $spot := or $pool.spot (include "millhand.selectsSpot" $pool.nodeSelector | ne "") | ternary "true" "" -}}
{{- $preemptibleField := $pool.spot | ternary "" $pool.nodeFacts.preemptible -}}
{{- include "millhand.nodeFact" (dict "pool" $pool "name" "MILLHAND_ZONE" "field" $zoneField "value" $zone) }}
{{- include "millhand.nodeFact" (dict "pool" $pool "name" "MILLHAND_MACHINE_TYPE" "field" $pool.nodeFacts.machineType "value" $type) }}
{{- include "millhand.nodeFact" (dict "pool" $pool "name" "MILLHAND_PREEMPTIBLE" "field" $preemptibleField "value" $spot) }}
{{- end }}

{{- define "millhand.nodeFact" -}}
{{- if and (or .field .value) (not (hasKey .pool.env .name)) }}
- name: {{ .name }}
  {{- if .field }}
  valueFrom:
    fieldRef:
      fieldPath: {{ .field }}
  {{- else }}
  value: {{ .value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Something where a node selector asks for machines that the provider may take away: by the labels of GKE, EKS, AKS, Karpenter. */ -}}
{{- define "millhand.selectsSpot" -}}
{{- $labels := dict
  "cloud.google.com/gke-spot" "true"
  "cloud.google.com/gke-preemptible" "true"
  "eks.amazonaws.com/capacityType" "SPOT"
  "kubernetes.azure.com/scalesetpriority" "spot"
  "karpenter.sh/capacity-type" "spot" -}}
{{- range $name, $value := . }}{{ if eq (get $labels $name) (toString $value) }}yes{{ end }}{{ end -}}
{{- end }}

{{- define "millhand.ownedByPool" -}}
MILLHAND_API_URL: agent.apiUrl
MILLHAND_TOKEN_FILE: token
MILLHAND_CONCURRENCY: concurrency
MILLHAND_DRAIN_TIMEOUT: drainSeconds
MILLHAND_HTTP_PORT: agent.httpPort
MILLHAND_HTTP_HOST: the chart
MILLHAND_STATE_DIR: state
MILLHAND_TYPES: types
MILLHAND_SECRETS_DIR: secretsFrom
MILLHAND_POD_UID: the pod
MILLHAND_REQUEST_CPU_MILLICORES: resources
MILLHAND_REQUEST_MEMORY: resources
{{- if .root.Values.store.existingClaim }}
MILLHAND_STORE: store
{{- end }}
{{- end }}
