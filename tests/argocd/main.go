// argocd-health health <file> reads objects as JSON from its input, one after the other, and prints one line of JSON for each:
// what Argo CD, with the ConfigMap argocd-cm of that file, and kstatus say of it.
//
// argocd-health diff <kubeconfig> reads pairs of manifest and object, {"config": …, "live": …}, and prints for each whether Argo
// CD shows the object as OutOfSync: with ServerSideApply=true, for which it learns the kinds from that cluster, and without.
//
// argocd-health applications <file>... reads each file as an Application, and fails where Argo CD knows no such field.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

const namespace = "argocd"

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type line struct {
	// What Argo CD shows.
	ArgoCD verdict `json:"argocd"`
	// What the script alone says: Argo CD does not ask it of an object that is being deleted.
	Script verdict `json:"script"`
	// What kstatus says, and with it Flux.
	Kstatus verdict `json:"kstatus"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "health":
		return healths(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "diff":
		return differences(os.Args[2])
	case len(os.Args) > 2 && os.Args[1] == "applications":
		return applications(os.Args[2:])
	default:
		return errors.New("health <argocd-cm file>, diff <kubeconfig> or applications <file>...")
	}
}

func applications(files []string) error {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var application v1alpha1.Application
		if err := yaml.UnmarshalStrict(text, &application); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

type difference struct {
	// With ServerSideApply=true.
	ByTheServer bool `json:"byTheServer"`
	// Without.
	ByTheClient bool `json:"byTheClient"`
}

func differences(kubeconfig string) error {
	cluster, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	kubectl := &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}
	_, parser, err := kubectl.LoadOpenAPISchema(cluster)
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var pair struct{ Config, Live *unstructured.Unstructured }
		if err := in.Decode(&pair); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		byTheServer, err := diff.Diff(pair.Config, pair.Live, diff.WithStructuredMergeDiff(true), diff.WithGVKParser(parser),
			diff.WithManager(common.ArgoCDSSAManager))
		if err != nil {
			return err
		}
		byTheClient, err := diff.Diff(pair.Config, pair.Live)
		if err != nil {
			return err
		}
		if err := out.Encode(difference{byTheServer.Modified, byTheClient.Modified}); err != nil {
			return err
		}
	}
}

func healths(file string) error {
	overrides, err := read(file)
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var object unstructured.Unstructured
		if err := in.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(judge(&object, overrides)); err != nil {
			return err
		}
	}
}

// read takes the health checks from the ConfigMap as Argo CD does.
func read(file string) (lua.ResourceHealthOverrides, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &configMap); err != nil {
		return nil, err
	}
	configMap.Namespace = namespace
	if configMap.Labels == nil {
		configMap.Labels = map[string]string{}
	}
	// Where Argo CD is installed, its ConfigMap carries the label already.
	configMap.Labels["app.kubernetes.io/part-of"] = "argocd"
	secret := corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "argocd-secret", Namespace: namespace, Labels: configMap.Labels,
	}}
	clients := fake.NewClientset(&configMap, &secret)
	overrides, err := settings.NewSettingsManager(context.Background(), clients, namespace).GetResourceOverrides()
	return overrides, err
}

func judge(object *unstructured.Unstructured, overrides lua.ResourceHealthOverrides) *line {
	shown, shownErr := health.GetResourceHealth(object, overrides)
	script, scriptErr := overrides.GetResourceHealth(object)
	computed, computedErr := status.Compute(object)
	said := &line{ArgoCD: ofArgoCD(shown, shownErr), Script: ofArgoCD(script, scriptErr)}
	if computedErr != nil {
		said.Kstatus = verdict{"Error", computedErr.Error()}
	} else {
		said.Kstatus = verdict{string(computed.Status), computed.Message}
	}
	return said
}

func ofArgoCD(found *health.HealthStatus, err error) verdict {
	switch {
	case err != nil:
		return verdict{"Error", err.Error()}
	case found == nil:
		return verdict{"Error", "no health check of this kind"}
	default:
		return verdict{string(found.Status), found.Message}
	}
}
