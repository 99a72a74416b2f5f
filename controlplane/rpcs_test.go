package controlplane_test

import (
	"context"
	"fmt"

	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/proto"
)

// rpc is one call of the contract.
type rpc struct {
	name string
	in   func() protobuf.Message
	out  func() protobuf.Message
	call func(context.Context, aibridged.DRPCClient, protobuf.Message) (protobuf.Message, error)
}

func rpcs() []rpc {
	return []rpc{
		unary("RecordInterception", aibridged.DRPCClient.RecordInterception),
		unary("RecordInterceptionEnded", aibridged.DRPCClient.RecordInterceptionEnded),
		unary("RecordTokenUsage", aibridged.DRPCClient.RecordTokenUsage),
		unary("RecordPromptUsage", aibridged.DRPCClient.RecordPromptUsage),
		unary("RecordToolUsage", aibridged.DRPCClient.RecordToolUsage),
		unary("RecordModelThought", aibridged.DRPCClient.RecordModelThought),
		unary("RecordBatch", aibridged.DRPCClient.RecordBatch),
		unary("GetMCPServerConfigs", aibridged.DRPCClient.GetMCPServerConfigs),
		unary("GetMCPServerAccessTokensBatch", aibridged.DRPCClient.GetMCPServerAccessTokensBatch),
		unary("KeepTurn", aibridged.DRPCClient.KeepTurn),
		unary("FindTurns", aibridged.DRPCClient.FindTurns),
		unary("IsAuthorized", aibridged.DRPCClient.IsAuthorized),
	}
}

func unary[In, Out any](name string, method func(aibridged.DRPCClient, context.Context, *In) (*Out, error)) rpc {
	return rpc{
		name: name,
		in:   func() protobuf.Message { return any(new(In)).(protobuf.Message) },
		out:  func() protobuf.Message { return any(new(Out)).(protobuf.Message) },
		call: func(ctx context.Context, client aibridged.DRPCClient, in protobuf.Message) (protobuf.Message, error) {
			out, err := method(client, ctx, any(in).(*In))
			if err != nil {
				return nil, err
			}
			return any(out).(protobuf.Message), nil
		},
	}
}

// filled sets every field of msg to a value that no other field has, and returns it.
func filled(msg protobuf.Message) protobuf.Message {
	f := filler{}
	f.message(msg.ProtoReflect(), 0)
	return msg
}

type filler struct{ last int }

// message sets every field of m, except that of a oneof it sets only the field with the index choice.
func (f *filler) message(m protoreflect.Message, choice int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() && oneof.Fields().Get(choice) != field {
			continue
		}
		switch {
		case field.IsList():
			f.list(m.Mutable(field).List(), field)
		case field.IsMap():
			entries := m.Mutable(field).Map()
			for range 2 {
				entries.Set(f.scalar(field.MapKey()).MapKey(), f.value(entries.NewValue(), field.MapValue(), 0))
			}
		default:
			m.Set(field, f.value(m.NewField(field), field, 0))
		}
	}
}

// list fills l with one element for each choice of its elements' oneof, and with at least two.
func (f *filler) list(l protoreflect.List, field protoreflect.FieldDescriptor) {
	n := 2
	if field.Message() != nil && field.Message().Oneofs().Len() > 0 {
		n = field.Message().Oneofs().Get(0).Fields().Len()
	}
	for choice := range n {
		l.Append(f.value(l.NewElement(), field, choice))
	}
}

func (f *filler) value(empty protoreflect.Value, field protoreflect.FieldDescriptor, choice int) protoreflect.Value {
	if field.Message() == nil {
		return f.scalar(field)
	}
	f.message(empty.Message(), choice)
	return empty
}

func (f *filler) scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	f.last++
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf("%s %d", field.Name(), f.last))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{byte(f.last), 0, 255})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.last))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(f.last) << 33)
	}
	panic("no value for a field of kind " + field.Kind().String())
}

// authorize calls IsAuthorized and returns the user name.
func authorize(ctx context.Context, client aibridged.DRPCClient, key string) (string, error) {
	out, err := client.IsAuthorized(ctx, &proto.IsAuthorizedRequest{Key: key})
	return out.GetUsername(), err
}
