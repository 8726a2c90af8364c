"""The rules of consent, pure: preferences of a person, the verdict on one message, and what a reply means."""
