// Package deployment holds the tests of the files in deploy/ by the types and schemas of the programs that read them.
package deployment

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// TestComposeFile reads deploy/compose.yaml as compose does: by its schema, with all that services name being there.
func TestComposeFile(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../../deploy/compose.yaml"}, cli.WithEnv([]string{"POSTGRES_PASSWORD=secret"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) != 5 {
		t.Errorf("services: %v", project.ServiceNames())
	}
	if got := project.Services["control"].Environment["AIBRIDGED_DATABASE_URL"]; got == nil || *got != "postgres://aibridged:secret@postgres/aibridged" {
		t.Errorf("the database is %v", got)
	}
	options, err = cli.NewProjectOptions([]string{"../../deploy/compose.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := options.LoadProject(t.Context()); err == nil {
		t.Error("it is read without a password for the database")
	}
}

// TestKubernetesManifests reads the manifests by Kubernetes' own types, which refuse members that they do not have, and checks
// that what refers to another object finds it.
func TestKubernetesManifests(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decode := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	paths, err := filepath.Glob("../../deploy/kubernetes/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	var pods []corev1.PodTemplateSpec
	var services []*corev1.Service
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			object, _, err := decode.Decode(document, nil, nil)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if named, err := meta.Accessor(object); err != nil || named.GetNamespace() != "aibridged" || named.GetName() == "" {
				t.Errorf("%s: %T has no name, or is in no namespace: %v", path, object, err)
			}
			switch object := object.(type) {
			case *appsv1.Deployment:
				pods = append(pods, object.Spec.Template)
				checkSelects(t, path, object.Spec.Selector.MatchLabels, object.Spec.Template)
			case *appsv1.StatefulSet:
				pods = append(pods, object.Spec.Template)
				checkSelects(t, path, object.Spec.Selector.MatchLabels, object.Spec.Template)
			case *corev1.Service:
				services = append(services, object)
			}
		}
	}
	for _, pod := range pods {
		for _, container := range pod.Spec.Containers {
			for _, mount := range container.VolumeMounts {
				if !hasVolume(pod, mount.Name) && mount.Name != "records" && mount.Name != "data" { // Those are claims of a StatefulSet.
					t.Errorf("%s mounts %s, which is not there", container.Name, mount.Name)
				}
			}
		}
	}
	for _, service := range services {
		for _, port := range service.Spec.Ports {
			if !hasPort(pods, service.Spec.Selector, port.TargetPort.StrVal) {
				t.Errorf("service %s: no pod has the port %s", service.Name, port.TargetPort.StrVal)
			}
		}
	}
}

func checkSelects(t *testing.T, path string, selector map[string]string, pod corev1.PodTemplateSpec) {
	t.Helper()
	if !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
		t.Errorf("%s: the selector %v does not match the labels %v", path, selector, pod.Labels)
	}
}

func hasVolume(pod corev1.PodTemplateSpec, name string) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == name {
			return true
		}
	}
	return false
}

func hasPort(pods []corev1.PodTemplateSpec, selector map[string]string, name string) bool {
	for _, pod := range pods {
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				if port.Name == name && labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
					return true
				}
			}
		}
	}
	return false
}
