"""The screens of the app: a file a page, with its style beside it, and what lies over the pages."""
