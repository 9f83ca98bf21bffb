{{- define "disaster-recovery-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "disaster-recovery-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "disaster-recovery-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "disaster-recovery-operator.fullname" .) -}}
{{- end -}}

{{- define "disaster-recovery-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Names of a shard, whose number is in the context as `shard`. Those of the first one are as without shards. */ -}}
{{- define "disaster-recovery-operator.shardName" -}}
{{- $name := include "disaster-recovery-operator.fullname" . -}}
{{- if .shard }}{{ printf "%s-shard-%d" ($name | trunc 53 | trimSuffix "-") .shard }}{{ else }}{{ $name }}{{ end -}}
{{- end -}}

{{- /* By which Deployment, Service and PodDisruptionBudget know their pods. They can never change. No two shards share a pod. */ -}}
{{- define "disaster-recovery-operator.selectorLabels" -}}
{{- $name := include "disaster-recovery-operator.name" . -}}
{{- if .shard }}{{ $name = printf "%s-shard-%d" ($name | trunc 53 | trimSuffix "-") .shard }}{{ end -}}
{{- dict "app.kubernetes.io/name" $name "app.kubernetes.io/instance" .Release.Name | toYaml -}}
{{- end -}}

{{- define "disaster-recovery-operator.labels" -}}
{{- $labels := include "disaster-recovery-operator.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $labels "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "disaster-recovery-operator" -}}
{{- merge $labels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "disaster-recovery-operator.podLabels" -}}
{{- $labels := include "disaster-recovery-operator.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "disaster-recovery-operator" -}}
{{- merge $labels .Values.podLabels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* The pod of helm test. Other labels than the operator's, so that no Service or budget takes it for one of them. */ -}}
{{- define "disaster-recovery-operator.testLabels" -}}
{{- $name := printf "%s-test" (include "disaster-recovery-operator.name" . | trunc 58 | trimSuffix "-") -}}
{{- dict "app.kubernetes.io/name" $name "app.kubernetes.io/instance" .Release.Name | toYaml -}}
{{- end -}}

{{- /* The Lease of a shard, as the program names it. */ -}}
{{- define "disaster-recovery-operator.lease" -}}
{{- include "disaster-recovery-operator.fullname" . }}{{ if .shard }}{{ printf "-shard-%d" .shard }}{{ end -}}
{{- end -}}

{{- /* The command line of the container. Flags without a value are left to the program. */ -}}
{{- define "disaster-recovery-operator.args" -}}
{{- $fullname := include "disaster-recovery-operator.fullname" . -}}
{{- with .Values -}}
{{- $address := .metrics.bindAddress -}}
{{- if contains ":" $address }}{{ $address = printf "[%s]" $address }}{{ end -}}
{{- $args := list "run" (printf "--metrics-address=%s:8080" $address) -}}
{{- $flags := list
  (list "namespace" (join "," .watchNamespaces))
  (list "label-selector" .labelSelector)
  (list "shard" (gt (int (default 1 .shards)) 1 | ternary (printf "%d/%d" (int $.shard) (int .shards)) ""))
  (list "cluster-id" .clusterId)
  (list "credentials-secret" .credentials.existingSecret)
  (list "default-account-namespaces" (join "," .defaultAccountNamespaces))
  (list "allowed-endpoints" (join "," .allowedEndpoints))
  (list "rocketmq-endpoint" .endpoints.rocketmq)
  (list "ebs-endpoint" .endpoints.ebs)
  (list "sts-endpoint" .endpoints.sts)
  (list "rocketmq-requests-per-second" .rocketmqRequestsPerSecond)
  (list "ebs-requests-per-second" .ebsRequestsPerSecond)
  (list "cloud-timeout" .cloudTimeout)
  (list "poll-interval" .pollInterval)
  (list "transition-interval" .transitionInterval)
  (list "retry-interval" .retryInterval)
  (list "create-visibility-window" .createVisibilityWindow)
  (list "workers" .workers)
  (list "group-metrics" (eq (toString .metrics.groupMetrics) "false" | ternary "false" ""))
  (list "log-format" .logging.format)
  (list "log-level" .logging.level)
-}}
{{- with .leaderElection }}{{ if .enabled -}}
{{- $args = append $args "--leader-elect" -}}
{{- $flags = concat $flags (list
  (list "leader-elect-resource-name" (eq $fullname "disaster-recovery-operator" | ternary "" $fullname))
  (list "leader-elect-lease-duration" .leaseDuration)
  (list "leader-elect-renew-deadline" .renewDeadline)
  (list "leader-elect-retry-period" .retryPeriod)
) -}}
{{- end }}{{ end -}}
{{- range $flags -}}
{{- if last . }}{{ $args = append $args (printf "--%s=%v" (first .) (last .)) }}{{ end -}}
{{- end -}}
{{- concat $args .extraArgs | toYaml -}}
{{- end -}}
{{- end -}}

{{- /* Flags that values stand for, as JSON: extraArgs has none of them. */ -}}
{{- define "disaster-recovery-operator.ownFlags" -}}
{{- list "metrics-address" "namespace" "label-selector" "shard" "cluster-id" "credentials-secret" "default-account-namespaces" "allowed-endpoints"
  "rocketmq-endpoint" "ebs-endpoint" "sts-endpoint" "rocketmq-requests-per-second" "ebs-requests-per-second" "cloud-timeout" "poll-interval"
  "transition-interval" "retry-interval" "create-visibility-window" "workers" "group-metrics" "log-format" "log-level" "leader-elect"
  "leader-elect-resource-name" "leader-elect-resource-namespace" "leader-elect-lease-duration" "leader-elect-renew-deadline"
  "leader-elect-retry-period" | toJson -}}
{{- end -}}

{{- /* What the operator may do in each namespace that it watches. tests/rbac.rs holds both sides: what works and what is refused. */ -}}
{{- define "disaster-recovery-operator.rules" -}}
# Plans, groups and accounts are read and watched. Patch sets the finalizer and the annotation with the plan's or the group's ID.
# Nothing is created, replaced or deleted: objects are their users'.
- apiGroups: [disasterrecovery.dev]
  resources: [alibabacloudaccounts, disasterrecoveryplans, diskreplicagroups]
  verbs: [get, list, watch, patch]
# Status is only ever replaced; it is read with its object.
- apiGroups: [disasterrecovery.dev]
  resources: [alibabacloudaccounts/status, disasterrecoveryplans/status, diskreplicagroups/status]
  verbs: [update]
# A plan or an account may name a Secret of its own namespace, which is read by that name when it is needed. No list and no
# watch: who can list Secrets can read all of them, and the operator keeps none in memory.
- apiGroups: [""]
  resources: [secrets]
  {{- with .Values.rbac.secretNames }}
  resourceNames:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  verbs: [get]
# What a person did not cause is told by an event beside its object; one that happens again is counted up by patch.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- define "disaster-recovery-operator.clusterIdRules" -}}
# The UID of kube-system is the cluster's identity in the owner mark. No other namespace is read.
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end -}}

{{- define "disaster-recovery-operator.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "disaster-recovery-operator.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{- /* A Role and its binding to the operator, of a dict: context, namespace, name, rules (text). */ -}}
{{- define "disaster-recovery-operator.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name | quote }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "disaster-recovery-operator.labels" .context | nindent 4 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name | quote }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "disaster-recovery-operator.labels" .context | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name | quote }}
{{ include "disaster-recovery-operator.subjects" .context }}
{{- end -}}

{{- define "disaster-recovery-operator.leaderElectionRules" -}}
# Who leads is in a Lease. A name cannot be asked for before there is one, so that create has none.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames:
  {{- range $shard := until (int (default 1 .Values.shards)) }}
  - {{ include "disaster-recovery-operator.lease" (merge (dict "shard" $shard) $) | quote }}
  {{- end }}
  verbs: [get, update]
{{- end -}}

{{- define "disaster-recovery-operator.credentialsRules" -}}
# Its own key.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Values.credentials.existingSecret | quote }}]
  verbs: [get]
{{- end -}}

{{- define "disaster-recovery-operator.tokenRules" -}}
# By its name: without resourceNames this would be every service account of the namespace, and with it every right they have.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  resourceNames: [{{ . | quote }}]
  verbs: [create]
{{- end -}}
