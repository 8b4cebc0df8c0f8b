{{- define "millhand.name" -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- end }}

{{- define "millhand.labels" -}}
app.kubernetes.io/name: millhand
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "millhand.image" -}}
{{- $image := .root.Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ .tag | default $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "millhand.apiUrl" -}}
{{- if .Values.agent.apiUrl -}}
{{ .Values.agent.apiUrl }}
{{- else if .Values.server.enabled -}}
http://{{ include "millhand.name" . }}-server.{{ .Release.Namespace }}.svc:{{ .Values.server.port }}
{{- else -}}
{{- fail "agent.apiUrl: name the Jobs API, or set server.enabled" -}}
{{- end -}}
{{- end }}

{{- define "millhand.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "millhand.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Refuse settings in env that values decide: dict "where" "env" "owned" (name: the value that decides it). */ -}}
{{- define "millhand.refuseOwned" -}}
{{- $given := . -}}
{{- range $name, $value := .owned }}
{{- if hasKey $given.env $name }}
{{- fail (printf "%s.env.%s: %s sets it, and other things with it" $given.where $name $value) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Spread pods over nodes or zones, where there is a choice: dict "over" (labels of nodes) "labels" (of the pods). */ -}}
{{- define "millhand.spread" -}}
{{- $labels := .labels -}}
topologySpreadConstraints:
{{- range .over }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- toYaml $labels | nindent 8 }}
{{- end }}
{{- end }}

{{- /* A pod that has no work yet may go whatever the budget says; Kubernetes knows the field from 1.26 on. */ -}}
{{- define "millhand.unready" -}}
{{- if semverCompare ">=1.27-0" .Capabilities.KubeVersion.Version -}}
unhealthyPodEvictionPolicy: AlwaysAllow
{{- end -}}
{{- end }}

{{- /* One pool with its defaults: dict "root" $ "pool" . A hook is one thing: two of them mixed, Kubernetes refuses. */ -}}
{{- define "millhand.pool" -}}
{{- $pool := mergeOverwrite (deepCopy .root.Values.poolDefaults) .pool -}}
{{- with .pool.preStop }}{{ if hasKey . "hook" }}{{ $_ := set $pool.preStop "hook" .hook }}{{ end }}{{ end -}}
{{- $pool | toYaml -}}
{{- end }}

{{- /* The pod of an agent: dict "root" $ "pool" (the merged one) "once" (whether it ends when idle). */ -}}
{{- define "millhand.agentPod" -}}
{{- $root := .root -}}
{{- $pool := .pool -}}
metadata:
  labels:
    {{- include "millhand.labels" $root | nindent 4 }}
    app.kubernetes.io/component: agent
    millhand/pool: {{ $pool.name }}
  {{- $annotations := $pool.podAnnotations }}
  {{- if .once }}
  {{- /* Autoscalers of nodes would evict it to save a machine; no budget can hold pods of jobs. */}}
  {{- $still := dict "cluster-autoscaler.kubernetes.io/safe-to-evict" "false" "karpenter.sh/do-not-disrupt" "true" }}
  {{- $annotations = merge (deepCopy $annotations) $still }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if .once }}
  restartPolicy: Never
  {{- end }}
  # The drain with its last reports, and a margin. SIGTERM begins it; a hook before that has its own time.
  terminationGracePeriodSeconds: {{ add $pool.preStop.seconds $pool.drainSeconds 15 }}
  securityContext:
    {{- include "millhand.podSecurity" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $pool.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $pool.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $pool.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $tolerations := $pool.tolerations }}
  {{- if $pool.gpus }}
  {{- $tolerations = append $tolerations (dict "key" $pool.gpuResource "operator" "Exists" "effect" "NoSchedule") }}
  {{- end }}
  {{- with $tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pool.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pool.spreadOver }}
  {{- $labels := dict "app.kubernetes.io/instance" $root.Release.Name "millhand/pool" $pool.name }}
  {{- include "millhand.spread" (dict "over" . "labels" $labels) | nindent 2 }}
  {{- end }}
  containers:
    - name: agent
      image: {{ include "millhand.image" (dict "root" $root "tag" $pool.imageTag) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [agent{{ if .once }}, --exit-when-idle{{ end }}]
      securityContext:
        {{- include "millhand.containerSecurity" $root | nindent 8 }}
      {{- include "millhand.refuseOwned" (dict "where" (printf "pools[%s]" $pool.name) "env" $pool.env "owned" (include "millhand.ownedByPool" . | fromYaml)) }}
      env:
        - name: MILLHAND_API_URL
          value: {{ include "millhand.apiUrl" $root | quote }}
        - name: MILLHAND_TOKEN_FILE
          value: /run/secrets/millhand/{{ $root.Values.token.key }}
        - name: MILLHAND_CONCURRENCY
          value: {{ $pool.concurrency | quote }}
        - name: MILLHAND_DRAIN_TIMEOUT
          value: "{{ $pool.drainSeconds }}s"
        - name: MILLHAND_HTTP_PORT
          value: {{ $root.Values.agent.httpPort | quote }}
        - name: MILLHAND_HTTP_HOST
          value: 0.0.0.0
        {{- if not (hasKey $pool.env "MILLHAND_LOG_FORMAT") }}
        - name: MILLHAND_LOG_FORMAT
          value: json
        {{- end }}
        - name: MILLHAND_STATE_DIR
          value: /var/lib/millhand/agent
        {{- with $pool.types }}
        - name: MILLHAND_TYPES
          value: {{ join "," . | quote }}
        {{- end }}
        {{- if $pool.secretsFrom }}
        - name: MILLHAND_SECRETS_DIR
          value: /run/secrets/handlers
        {{- end }}
        - name: MILLHAND_POD_UID
          valueFrom:
            fieldRef:
              fieldPath: metadata.uid
        - name: MILLHAND_REQUEST_CPU_MILLICORES
          valueFrom:
            resourceFieldRef:
              containerName: agent
              resource: requests.cpu
              divisor: 1m
        - name: MILLHAND_REQUEST_MEMORY
          valueFrom:
            resourceFieldRef:
              containerName: agent
              resource: requests.memory
        {{- if $root.Values.store.existingClaim }}
        - name: MILLHAND_STORE
          value: {{ include "millhand.storeFolder" $root }}
        {{- end }}
        {{- with include "millhand.nodeFacts" (dict "root" $root "pool" $pool) | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- range $name, $value := $pool.env }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
      {{- with include "millhand.preStop" (dict "where" (printf "pools[%s]" $pool.name) "preStop" $pool.preStop) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ $root.Values.agent.httpPort }}
      # The handlers' imports and a cold disk may take minutes.
      startupProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 2
        failureThreshold: 150
      # The agent's own loop. A server that is away restarts no agent, which would end its runs.
      livenessProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      # From the server's first answer on; a later outage takes it back as little, so that nodes can be drained then.
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 5
        timeoutSeconds: 5
      resources:
        {{- $resources := deepCopy $pool.resources }}
        {{- if $pool.gpus }}
        {{- $resources = mergeOverwrite $resources (dict "limits" (dict $pool.gpuResource $pool.gpus)) }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        - name: state
          mountPath: /var/lib/millhand
        - name: scratch
          mountPath: /tmp
        - name: token
          mountPath: /run/secrets/millhand
          readOnly: true
        {{- if $pool.secretsFrom }}
        - name: secrets
          mountPath: /run/secrets/handlers
          readOnly: true
        {{- end }}
        {{- with include "millhand.storeMount" (dict "root" $root "readOnly" false) | trim }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    {{- if or .once (not $pool.state.persistent) }}
    - name: state
      emptyDir:
        sizeLimit: {{ $pool.state.size }}
    {{- end }}
    - name: scratch
      emptyDir:
        sizeLimit: {{ $pool.scratch }}
    - name: token
      secret:
        secretName: {{ $root.Values.token.existingSecret }}
        defaultMode: 0440
        items:
          - { key: {{ $root.Values.token.key }}, path: {{ $root.Values.token.key }} }
    {{- if $pool.secretsFrom }}
    - name: secrets
      secret:
        secretName: {{ $pool.secretsFrom }}
        defaultMode: 0440
    {{- end }}
    {{- with include "millhand.storeVolume" $root | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* A hook before SIGTERM, with its time: dict "where" (whose) "preStop". Nothing where there is none. */ -}}
{{- define "millhand.preStop" -}}
{{- if and .preStop.hook (not .preStop.seconds) }}
{{- fail (printf "%s: preStop.seconds must say how long the hook may take; the grace is longer by it" .where) }}
{{- end }}
{{- with .preStop.hook -}}
lifecycle:
  preStop:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{- /* The folder of files, as agents and server see it: all at one path. */ -}}
{{- define "millhand.storeFolder" -}}
/srv/millhand
{{- end }}

{{- /* dict "root" $ "readOnly"; nothing where there is no such folder. */ -}}
{{- define "millhand.storeMount" -}}
{{- with .root.Values.store }}{{ if .existingClaim -}}
- name: store
  mountPath: {{ include "millhand.storeFolder" $.root }}
  {{- with .subPath }}
  subPath: {{ . | quote }}
  {{- end }}
  {{- if $.readOnly }}
  readOnly: true
  {{- end }}
{{- end }}{{ end }}
{{- end }}

{{- define "millhand.storeVolume" -}}
{{- with .Values.store.existingClaim -}}
- name: store
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- end }}

{{- define "millhand.pendingUrl" -}}
{{- $types := list -}}
{{- range .pool.types }}{{ $types = append $types (printf "type=%s" (. | urlquery)) }}{{ end -}}
http://{{ include "millhand.name" .root }}-server.{{ .root.Release.Namespace }}.svc:{{ .root.Values.server.metricsPort }}/pending{{ if $types }}?{{ join "&" $types }}{{ end }}
{{- end }}
