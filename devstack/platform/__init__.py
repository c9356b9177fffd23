"""A crowd-work platform in five real stores: what the demo erases contributors from, and in small the tests too."""
