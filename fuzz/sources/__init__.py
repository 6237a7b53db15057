"""Where fuzzers take their models from: seeds, mutations, alterations."""
