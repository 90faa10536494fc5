{{- define "angelia.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "angelia.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "angelia.labels" -}}
{{ include "angelia.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "angelia.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Whether nodes share a cluster; refuses what would lose data or cannot start. */}}
{{- define "angelia.cluster" -}}
{{- if hasPrefix "cql://" .Values.store.url -}}
{{- if not .Values.secretName }}{{ fail "secretName: nodes that share a store need the same store.key" }}{{ end -}}
true
{{- else if gt (int .Values.replicas) 1 -}}
{{- fail "replicas: a store inside has one node; more need store.url: cql://…" -}}
{{- end -}}
{{- end }}

{{/* The configuration file: what the chart decides, then .Values.config. */}}
{{- define "angelia.toml" -}}
[store]
{{- range $key, $value := .Values.store }}
{{ $key }} = {{ toJson $value }}
{{- end }}

[listen]
ams = "0.0.0.0:8080"
ams_tls = {{ ternary "0.0.0.0:8443" "off" (ne .Values.tls.secretName "") | quote }}
ops = "0.0.0.0:8081"
{{- if include "angelia.cluster" . }}

# listen.cluster and cluster.address stand in the pods' environment: each has its own.
[cluster]
secret_file = "/run/angelia/cluster.secret"
{{- end }}
{{- if .Values.tls.secretName }}

[tls]
cert_file = "/etc/angelia/tls/tls.crt"
key_file = "/etc/angelia/tls/tls.key"
{{- end }}

[secrets]
key_file = {{ ternary "/run/angelia/store.key" "/var/lib/angelia/store.key" (ne .Values.secretName "") | quote }}

[ams]
{{- if .Values.secretName }}
service_token_file = "/run/angelia/service.token"
{{- end }}
{{- range $key, $value := .Values.ams }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- range $section, $keys := .Values.config }}
{{- if (has $section (list "store" "listen" "cluster" "tls" "secrets" "ams")) }}
{{- fail (printf "config.%s: the chart writes this section itself" $section) }}
{{- end }}

[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* A key file must be its owner's alone, and mounted secrets never are: it is copied into memory first. */}}
{{- define "angelia.initContainers" -}}
{{- if .Values.secretName }}
initContainers:
  - name: keys
    image: {{ include "angelia.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: ["install", "--mode=0600", "--target-directory=/run/angelia", "/secret/store.key", "/secret/service.token"{{ if include "angelia.cluster" . }}, "/secret/cluster.secret"{{ end }}]
    securityContext: {{- include "angelia.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - { name: secret, mountPath: /secret, readOnly: true }
      - { name: keys, mountPath: /run/angelia }
{{- end }}
{{- end }}

{{- define "angelia.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "angelia.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "angelia.mounts" -}}
- { name: config, mountPath: /etc/angelia/angelia.toml, subPath: angelia.toml, readOnly: true }
{{- if .Values.secretName }}
- { name: keys, mountPath: /run/angelia }
{{- end }}
{{- if .Values.tls.secretName }}
- { name: tls, mountPath: /etc/angelia/tls, readOnly: true }
{{- end }}
{{- range $index, $secret := .Values.extraSecrets }}
- { name: extra-{{ $index }}, mountPath: {{ $secret.mountPath }}, readOnly: true }
{{- end }}
{{- end }}

{{- define "angelia.volumes" -}}
- name: config
  configMap: { name: {{ include "angelia.name" . }} }
{{- if .Values.secretName }}
- name: secret
  secret: { secretName: {{ .Values.secretName }}, defaultMode: 0440 }
- name: keys
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}
{{- if .Values.tls.secretName }}
- name: tls
  secret: { secretName: {{ .Values.tls.secretName }}, defaultMode: 0440 }
{{- end }}
{{- range $index, $secret := .Values.extraSecrets }}
- name: extra-{{ $index }}
  secret: { secretName: {{ $secret.name }}, defaultMode: 0440 }
{{- end }}
{{- end }}
