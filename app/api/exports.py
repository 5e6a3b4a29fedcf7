"""Exports."""

from fastapi import APIRouter

from app.api.keyed import KeyedRoute

router = APIRouter(prefix="/v1/exports", tags=["Exports"], route_class=KeyedRoute)
