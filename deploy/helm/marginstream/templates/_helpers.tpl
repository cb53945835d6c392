{{- define "marginstream.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "marginstream.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "marginstream.labels" -}}
{{ include "marginstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "marginstream.secret" -}}
{{- if .Values.secret.existing -}}
{{- .Values.secret.existing -}}
{{- else -}}
{{- include "marginstream.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "marginstream.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* What each container of the program has: configuration, secrets, and no more rights than it needs. */}}
{{- define "marginstream.container" -}}
image: {{ include "marginstream.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - configMapRef:
      name: {{ include "marginstream.fullname" . }}
env:
  - name: MARGINSTREAM_WAREHOUSE
    valueFrom:
      secretKeyRef:
        name: {{ include "marginstream.secret" . }}
        key: warehouse-url
  - name: MARGINSTREAM_CONTROL
    valueFrom:
      secretKeyRef:
        name: {{ include "marginstream.secret" . }}
        key: control-url
  {{- if .Values.eventLog.sasl.mechanism }}
  - name: MARGINSTREAM_KAFKA_SASL_PASSWORD
    valueFrom:
      secretKeyRef:
        name: {{ include "marginstream.secret" . }}
        key: kafka-password
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- if .Values.eventLog.caSecret }}
volumeMounts:
  - name: kafka-ca
    mountPath: /etc/marginstream/kafka
    readOnly: true
{{- end }}
{{- end -}}

{{/* What each pod of the program has beside its container. */}}
{{- define "marginstream.pod" -}}
# A Service named marginstream would set variables that the program would take for its own.
enableServiceLinks: false
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.eventLog.caSecret }}
volumes:
  - name: kafka-ca
    secret:
      secretName: {{ .Values.eventLog.caSecret }}
{{- end }}
{{- end -}}
