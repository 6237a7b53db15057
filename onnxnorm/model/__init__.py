"""Holds model messages and graphs in memory: protobuf forms, names, element types, walks over graphs."""
